/* Exported models of ekd ("student.pt") for programs in C, C++, and what calls C. No torch, no
 * Python.
 *
 * docs/c_interface.md has an introduction, examples/c a program. Units are eV and Å. Arrays are
 * row-major, and belong to the caller. Every function that returns an int returns a code of
 * ekd_code; no exception leaves the library, and it neither prints nor ends the process.
 *
 * A struct that begins with `size` may grow at its end. Set all of it to zero, then `size` to its
 * sizeof, then what you need: zero is the default of every field. A program that was compiled with
 * an older header goes on working with a newer library. */
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

/* What a function returns. ekd_last_error() has the sentence that goes with it. */
enum ekd_code {
  EKD_OK = 0,
  /* A pointer is NULL that must not be, a number of atoms is negative, an option or a `size` means
   * nothing, rows of neighbours do not fit together. */
  EKD_ERROR_ARGUMENT = 1,
  /* The file cannot be opened, is not an exported model, is truncated or damaged, or has a newer
   * format than this library reads. */
  EKD_ERROR_FILE = 2,
  /* The file is in order, but torch alone can run it: it was written before format 4 ('ekd upgrade'
   * rewrites it), or holds a network that ekd has no kernels for. */
  EKD_ERROR_NEEDS_TORCH = 3,
  /* The file does not give the results that it gave where it was written. */
  EKD_ERROR_SELF_TEST = 4,
  /* The structure cannot be evaluated: no atoms, an element that the model lacks, atoms on top of
   * each other, a position that is not finite, an impossible cell. */
  EKD_ERROR_STRUCTURE = 5,
  /* This model cannot do what is asked: ghosts with several interactions, a spread without a
   * committee, an uncertainty that it was not taught. Or the device is not here. */
  EKD_ERROR_UNSUPPORTED = 6,
  /* There is not enough memory. */
  EKD_ERROR_MEMORY = 7,
  /* Anything else: a bug of ekd; please report it. */
  EKD_ERROR_INTERNAL = 8
};

/* The precision that networks compute in. Energies are summed in double precision in any case. */
enum ekd_precision {
  EKD_PRECISION_MODEL = 0, /* that of the file */
  EKD_PRECISION_SINGLE = 1,
  EKD_PRECISION_DOUBLE = 2
};

/* An opened file: one student, or a committee. Any thread may use it; of several that do so at
 * once, the others wait. Different ones do not wait for each other. A child of fork() may use it
 * too, if no other thread was using it. */
typedef struct ekd_model ekd_model;

typedef struct ekd_options {
  size_t size; /* sizeof(ekd_options) */
  /* Of ekd_precision. */
  int precision;
  /* Threads of an evaluation, the calling one included, at most 1024; 0: one. Results are the same
   * for any number. */
  int n_threads;
  /* Atoms that are evaluated at a time, which bounds the memory; 0: as many as the memory of a
   * workstation takes. */
  int64_t block;
  /* Å; above 0, ekd_evaluate keeps its neighbour list and uses it again, until an atom has moved
   * further than half of this, or the cell, the periodic directions or the number of atoms change.
   * For MD, where 1.0 is a good choice. */
  double skin;
  /* 1: leave out the test of the file, which takes some milliseconds. */
  int no_self_test;
  int reserved; /* 0 */
  /* Where the network is evaluated: "cpu", or null; "cuda" or "cuda:N". All arrays are the host's
   * in any case. */
  const char* device;
} ekd_options;

/* What a file says about itself. Pointers are valid until ekd_close. */
typedef struct ekd_description {
  size_t size; /* sizeof(ekd_description), set by the caller */
  /* Å; pairs with a distance below it interact. */
  double cutoff;
  /* Å; how far the energy of an atom reaches: n_interactions cutoffs. */
  double interaction_range;
  /* With 1, the energy of an atom depends on its neighbours alone. */
  int64_t n_interactions;
  /* Students in the file; results are their mean. */
  int64_t n_members;
  int64_t n_elements;
  /* [n_elements]; and their chemical symbols. */
  const int32_t* atomic_numbers;
  const char* const* elements;
  /* [n_elements], eV: of an atom without neighbours. Energies of structures contain them. */
  const double* free_atom_energies;
  /* Whether there is an uncertainty, see ekd_results. */
  int has_uncertainty;
  /* Whether the networks compute in single precision. */
  int is_single;
  /* All metadata, a JSON object; see docs/exported_model.md. */
  const char* metadata_json;
} ekd_description;

/* Where results go. What is NULL is not written, and not computed where that saves time. After an
 * error the arrays hold nothing of use. In ekd_evaluate, n_owned is n_atoms. */
typedef struct ekd_results {
  size_t size; /* sizeof(ekd_results) */
  /* [1], eV: the sum of atomic_energies. */
  double* energy;
  /* [n_owned], eV. */
  double* atomic_energies;
  /* [n_atoms, 3], eV/Å: -dE/d(position). */
  double* forces;
  /* [3, 3], eV: -sum over pairs of pair_vector x dE/d(pair_vector), symmetric. A positive diagonal
   * pushes the cell apart. The stress in the sign of ASE is -virial / volume, the pressure
   * +trace(virial) / (3 volume), without the kinetic part. */
  double* virial;
  /* [1], eV. Of a committee: population standard deviation of the energy. */
  double* energy_std;
  /* [n_atoms], eV/Å. Of a committee: population standard deviation of a component of the force,
   * sqrt(mean over members of |F - mean F|^2 / 3). */
  double* forces_std;
  /* [n_owned], eV/Å: the error that the model expects of a component of the force. */
  double* uncertainty;
  /* [n_pairs, 3], eV/Å: dE/d(pair_vector). Of ekd_evaluate_rows alone. */
  double* pair_gradients;
} ekd_results;

/* Atoms of one process of an engine, and their neighbours as the engine has found them. Atoms
 * 0 .. n_owned - 1 are evaluated. Those that follow are ghosts: copies of atoms that are evaluated
 * elsewhere, or periodic images. Without ghosts, the neighbour is the atom itself that a periodic
 * image is of, and the pair vector leads to the image. */
typedef struct ekd_rows {
  size_t size; /* sizeof(ekd_rows) */
  /* Ghosts included. It may be 0, and so may n_owned. */
  int64_t n_atoms;
  int64_t n_owned;
  /* [n_atoms] */
  const int32_t* atomic_numbers;
  /* [n_owned + 1], ascending from 0: the pairs of atom i are number offsets[i] up to, but not
   * including, offsets[i + 1]. The last one is n_pairs. */
  const int64_t* offsets;
  /* [n_pairs], atoms. All neighbours within the cutoff: a "full" list, which has both directions of
   * a pair of owned atoms. Pairs beyond the cutoff are passed over. */
  const int32_t* neighbors;
  /* [n_pairs, 3], Å, from the atom to its neighbour. */
  const double* pair_vectors;
} ekd_rows;

/* Opens a file and runs its self-test. `path`: of the file. `options`: NULL for the defaults.
 * `model`: becomes NULL on error. Close it with ekd_close.
 * EKD_ERROR_ARGUMENT, _FILE, _NEEDS_TORCH, _SELF_TEST, _UNSUPPORTED, _MEMORY. */
EKD_API int ekd_open(const char* path, const ekd_options* options, ekd_model** model);

/* Fills `description`, whose `size` is set. EKD_ERROR_ARGUMENT. */
EKD_API int ekd_describe(const ekd_model* model, ekd_description* description);

/* Evaluates a structure: finds neighbours, periodic images included.
 * `n_atoms`: at least 1. `positions`: [n_atoms, 3], Å; they need not lie in the cell.
 * `atomic_numbers`: [n_atoms]. `cell`: [3, 3], Å, rows are lattice vectors, not linearly dependent;
 * NULL: none. `pbc`: [3], whether each lattice vector is periodic, 0 or 1; NULL: all of them where
 * there is a cell, else none. `results`: what is wanted.
 * EKD_ERROR_ARGUMENT, _STRUCTURE, _UNSUPPORTED, _MEMORY. */
EKD_API int ekd_evaluate(ekd_model* model, int64_t n_atoms, const double* positions,
                         const int32_t* atomic_numbers, const double* cell, const int* pbc,
                         const ekd_results* results);

/* Evaluates atoms whose neighbours are known, for MD engines. Forces are on all atoms: an engine
 * adds those on ghosts to the atoms that they are copies of. Virial and energy are the part of this
 * process. A model with several interactions needs features of ghosts from other processes: it
 * is evaluated only where there are no ghosts. The same holds for energy_std and forces_std.
 * EKD_ERROR_ARGUMENT, _STRUCTURE, _UNSUPPORTED, _MEMORY. */
EKD_API int ekd_evaluate_rows(ekd_model* model, const ekd_rows* rows, const ekd_results* results);

/* Frees a model, and what ekd_describe pointed to. NULL is allowed. */
EKD_API void ekd_close(ekd_model* model);

/* What was wrong in the last call of this thread that returned an error, a sentence in UTF-8; "" if
 * there was none. Valid until the next call of this thread. */
EKD_API const char* ekd_last_error(void);

/* Of the library, such as "0.1.0". */
EKD_API const char* ekd_version(void);

#ifdef __cplusplus
}
#endif

#endif
