/* C interface to exported models of ekd ("student.pt"), for C, C++ and other languages that can
 * call C. Neither torch nor Python is needed.
 *
 * docs/c_interface.md is an introduction, examples/c has an example program. Units are eV and Å.
 * Arrays are row-major and owned by the caller. Functions that return an int return an ekd_code;
 * the library never throws exceptions, prints, or ends the process.
 *
 * A struct that begins with `size` may grow at its end. Set all of it to zero, then `size` to its
 * sizeof, then the fields that you need: zero is the default of every field. Programs compiled with
 * an older header work with a newer library. */
#ifndef EKD_H
#define EKD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EKD_API __attribute__((visibility("default")))
#else
#define EKD_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Return codes. ekd_last_error() has the error message. */
enum ekd_code {
  EKD_OK = 0,
  /* A required pointer is NULL, a number of atoms is negative, an option or a `size` is invalid, or
   * neighbor rows are inconsistent. */
  EKD_ERROR_ARGUMENT = 1,
  /* The file cannot be opened, is not an exported model, is truncated or damaged, or has a format
   * newer than the library. */
  EKD_ERROR_FILE = 2,
  /* The file is valid, but only torch can run it: it was written before format 4 (convert it with
   * 'ekd upgrade'), or contains a network for which ekd has no kernels. */
  EKD_ERROR_NEEDS_TORCH = 3,
  /* The results of the self-test differ from those stored in the file at export. */
  EKD_ERROR_SELF_TEST = 4,
  /* The structure cannot be evaluated: no atoms, an element that the model lacks, coincident atoms,
   * a position that is not finite, an invalid cell. */
  EKD_ERROR_STRUCTURE = 5,
  /* The model does not support the request: ghosts with several interactions, a spread without a
   * committee, an uncertainty that it was not trained for. Or the device is not available. */
  EKD_ERROR_UNSUPPORTED = 6,
  /* There is not enough memory. */
  EKD_ERROR_MEMORY = 7,
  /* Anything else: a bug in ekd; please report it. */
  EKD_ERROR_INTERNAL = 8
};

/* Precision of the networks. Energies are always summed in double precision. */
enum ekd_precision {
  EKD_PRECISION_MODEL = 0, /* precision of the file */
  EKD_PRECISION_SINGLE = 1,
  EKD_PRECISION_DOUBLE = 2
};

/* An opened file: one student or a committee. It may be used from any thread; concurrent calls for
 * one model are serialized, those for different models run in parallel. It may also be used after
 * fork(), if no other thread was using it. */
typedef struct ekd_model ekd_model;

typedef struct ekd_options {
  size_t size; /* sizeof(ekd_options) */
  /* An ekd_precision. */
  int precision;
  /* Threads of an evaluation, including the calling thread, at most 1024; 0: one. Results do not
   * depend on it. */
  int n_threads;
  /* Number of atoms evaluated at once, which limits the memory; 0: as many as fit into the memory
   * of a workstation. */
  int64_t block;
  /* Å; if positive, ekd_evaluate reuses its neighbor list until an atom has moved by more than half
   * of this, or the cell, the periodic directions or the number of atoms change. For MD; 1.0 is a
   * good choice. */
  double skin;
  /* 1: skip the self-test of the file, which takes a few milliseconds. */
  int no_self_test;
  int reserved; /* 0 */
  /* Device of the network: "cpu" or NULL; "cuda" or "cuda:N". All arrays are always in host
   * memory. */
  const char* device;
  /* SHA-256 that the file must have, 64 hexadecimal digits; NULL: any. Another file is refused with
   * EKD_ERROR_FILE before its contents are used. */
  const char* sha256;
} ekd_options;

/* Description of a file. Pointers are valid until ekd_close. */
typedef struct ekd_description {
  size_t size; /* sizeof(ekd_description), set by the caller */
  /* Å; pairs closer than this interact. */
  double cutoff;
  /* Å; range of the energy of an atom: n_interactions * cutoff. */
  double interaction_range;
  /* If 1, the energy of an atom depends only on its neighbors. */
  int64_t n_interactions;
  /* Number of students in the file; results are their mean. */
  int64_t n_members;
  int64_t n_elements;
  /* [n_elements], with their chemical symbols. */
  const int32_t* atomic_numbers;
  const char* const* elements;
  /* [n_elements], eV: energy of an atom without neighbors, included in energies of structures. */
  const double* free_atom_energies;
  /* Whether the model predicts an uncertainty, see ekd_results. */
  int has_uncertainty;
  /* Whether the networks compute in single precision. */
  int is_single;
  /* All metadata, a JSON object; see docs/exported_model.md. */
  const char* metadata_json;
  /* SHA-256 of the file, 64 hexadecimal digits. */
  const char* sha256;
} ekd_description;

/* Output arrays. Those that are NULL are not written, and not computed if that saves time. After an
 * error, their contents are undefined. In ekd_evaluate, n_owned is n_atoms. */
typedef struct ekd_results {
  size_t size; /* sizeof(ekd_results) */
  /* [1], eV: the sum of atomic_energies. */
  double* energy;
  /* [n_owned], eV. */
  double* atomic_energies;
  /* [n_atoms, 3], eV/Å: -dE/d(position). */
  double* forces;
  /* [3, 3], eV: -sum over pairs of pair_vector x dE/d(pair_vector), symmetric. A positive diagonal
   * expands the cell. The stress in the sign of ASE is -virial / volume, the pressure
   * +trace(virial) / (3 volume), without the kinetic part. */
  double* virial;
  /* [1], eV, for a committee: population standard deviation of the energy. */
  double* energy_std;
  /* [n_atoms], eV/Å, for a committee: population standard deviation of a force component,
   * sqrt(mean over members of |F - mean F|^2 / 3). */
  double* forces_std;
  /* [n_owned], eV/Å: expected error of a force component. */
  double* uncertainty;
  /* [n_pairs, 3], eV/Å: dE/d(pair_vector). Only for ekd_evaluate_rows. */
  double* pair_gradients;
} ekd_results;

/* Atoms of one process of an MD engine, and their neighbors from the engine. Atoms 0 .. n_owned - 1
 * are evaluated. The following ones are ghosts: copies of atoms that are evaluated elsewhere, or
 * periodic images. Without ghosts, the neighbor index is that of the original atom of a periodic
 * image, and the pair vector points to the image. */
typedef struct ekd_rows {
  size_t size; /* sizeof(ekd_rows) */
  /* Including ghosts. May be 0, as may n_owned. */
  int64_t n_atoms;
  int64_t n_owned;
  /* [n_atoms] */
  const int32_t* atomic_numbers;
  /* [n_owned + 1], ascending from 0: the pairs of atom i are offsets[i] .. offsets[i + 1] - 1. The
   * last entry is n_pairs. */
  const int64_t* offsets;
  /* [n_pairs], atom indices. A "full" list of all neighbors within the cutoff, with both directions
   * of a pair of owned atoms. Pairs beyond the cutoff are ignored. */
  const int32_t* neighbors;
  /* [n_pairs, 3], Å, from the atom to its neighbor. */
  const double* pair_vectors;
} ekd_rows;

/* Opens a file and runs its self-test. `path`: path of the file. `options`: NULL for the defaults.
 * `model`: set to NULL on error. Close it with ekd_close.
 * EKD_ERROR_ARGUMENT, _FILE, _NEEDS_TORCH, _SELF_TEST, _UNSUPPORTED, _MEMORY. */
EKD_API int ekd_open(const char* path, const ekd_options* options, ekd_model** model);

/* Fills `description`, whose `size` must be set. EKD_ERROR_ARGUMENT. */
EKD_API int ekd_describe(const ekd_model* model, ekd_description* description);

/* Evaluates a structure; finds neighbors including periodic images.
 * `n_atoms`: at least 1. `positions`: [n_atoms, 3], Å, may be outside of the cell.
 * `atomic_numbers`: [n_atoms]. `cell`: [3, 3], Å, rows are linearly independent lattice vectors;
 * NULL: none. `pbc`: [3], whether each lattice vector is periodic, 0 or 1; NULL: all if there is a
 * cell, otherwise none. `results`: requested results.
 * EKD_ERROR_ARGUMENT, _STRUCTURE, _UNSUPPORTED, _MEMORY. */
EKD_API int ekd_evaluate(ekd_model* model, int64_t n_atoms, const double* positions,
                         const int32_t* atomic_numbers, const double* cell, const int* pbc,
                         const ekd_results* results);

/* Evaluates atoms with given neighbors, for MD engines. Forces are on all atoms; the engine must
 * add forces on ghosts to the atoms that they are copies of. Virial and energy are the contribution
 * of this process. A model with several interactions would need features of ghosts from other
 * processes, so it requires n_owned = n_atoms; so do energy_std and forces_std.
 * EKD_ERROR_ARGUMENT, _STRUCTURE, _UNSUPPORTED, _MEMORY. */
EKD_API int ekd_evaluate_rows(ekd_model* model, const ekd_rows* rows, const ekd_results* results);

/* Frees a model and the memory that ekd_describe pointed to. NULL is allowed. */
EKD_API void ekd_close(ekd_model* model);

/* Message of the last error in this thread, in UTF-8; "" if there was none. Valid until the next
 * call in this thread. */
EKD_API const char* ekd_last_error(void);

/* Version of the library, such as "0.1.0". */
EKD_API const char* ekd_version(void);

#ifdef __cplusplus
}
#endif

#endif
