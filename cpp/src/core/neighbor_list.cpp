#include "ekd/neighbor_list.hpp"

#include <cmath>
#include <mutex>
#include <numeric>
#include <sstream>
#include <string>

#include "ekd/error.hpp"
#include "ekd/parallel.hpp"
#include "neighbor_kernels.hpp"
#include "periodic_images.hpp"

namespace ekd {
namespace {

// Fewer atoms are not worth starting a thread.
constexpr std::int64_t kAtomsPerThread = 512;

int useful_threads(int n_threads, const StructureBatch& batch) {
  const std::int64_t most = 1 + batch.offsets[batch.n_structures] / kAtomsPerThread;
  return static_cast<int>(std::clamp<std::int64_t>(n_threads, 1, most));
}

void check_cutoff(double cutoff) {
  if (!(cutoff > 0.0) || !std::isfinite(cutoff))
    throw StructureError("the cutoff is " + std::to_string(cutoff) +
                         " Å; it must be positive and finite [EKD-CONFIG-011]");
}

StructureView view(const StructureBatch& batch, std::int64_t structure) {
  StructureView view;
  view.n_atoms = batch.offsets[structure + 1] - batch.offsets[structure];
  view.positions = batch.positions + 3 * batch.offsets[structure];
  if (batch.cells != nullptr) view.cell = batch.cells + 9 * structure;
  for (int d = 0; d < 3; ++d)
    view.periodic[d] = batch.pbc != nullptr && batch.pbc[3 * structure + d] != 0;
  if (batch.first_number >= 0)
    view.number = batch.first_number + structure;
  else if (batch.n_structures > 1)
    view.number = structure;
  return view;
}

// A structure with its images, and the offset of its atoms in the batch.
struct Structure {
  PeriodicImages images;
  std::int64_t number = -1;
  std::int64_t first_atom = 0;
};

// The centers of all structures, ordered by slot within a structure, divided into chunks of equal
// length, which are distributed to threads.
class Centers {
 public:
  Centers(const StructureBatch& batch, double reach, int n_threads)
      : structures_(batch.n_structures),
        offsets_(batch.offsets, batch.offsets + batch.n_structures + 1) {
    // Groups of small structures: a single molecule is not worth starting a thread.
    std::vector<std::int64_t> groups{0};
    for (std::int64_t s = 1; s <= batch.n_structures; ++s)
      if (s == batch.n_structures || offsets_[s] - offsets_[groups.back()] >= kChunk)
        groups.push_back(s);
    const std::int64_t n_groups = std::ssize(groups) - 1;
    const int n_inner = n_groups == 1 ? n_threads : 1;
    parallel_for(n_threads, n_groups, [&](std::int64_t group, int) {
      for (std::int64_t s = groups[group]; s < groups[group + 1]; ++s) {
        const StructureView structure = view(batch, s);
        structures_[s] = {PeriodicImages(structure, reach, n_inner), structure.number, offsets_[s]};
      }
    });
  }

  std::int64_t n_atoms() const { return offsets_.back(); }
  std::int64_t n_structures() const { return std::ssize(structures_); }
  std::int64_t first_atom(std::int64_t structure) const { return offsets_[structure]; }
  std::int64_t n_chunks() const { return (n_atoms() + kChunk - 1) / kChunk; }

  // Updates the positions; only for a single structure.
  void move(const double* positions) { structures_.front().images.move(positions); }

  // Calls visit(structure, slot) for the centers of a chunk.
  template <class Visit>
  void visit(std::int64_t chunk, const Visit& visit) const {
    std::int64_t rank = chunk * kChunk;
    const std::int64_t end = std::min(rank + kChunk, n_atoms());
    auto s = std::upper_bound(offsets_.begin(), offsets_.end(), rank) - offsets_.begin() - 1;
    for (; rank < end; ++rank) {
      while (rank >= offsets_[s + 1]) ++s;
      visit(structures_[s], structures_[s].images.centers()[rank - offsets_[s]]);
    }
  }

 private:
  static constexpr std::int64_t kChunk = 128;

  std::vector<Structure> structures_;
  std::vector<std::int64_t> offsets_;
};

// The neighbors of the centers of one chunk, as slots of images.
struct Neighborhoods {
  struct Row {
    const std::int32_t* slots;
    std::int64_t size;
  };
  using Slab = std::shared_ptr<Buffer<std::int32_t>>;

  std::vector<Row> rows;
  std::vector<Slab> slabs;  // memory of the rows, shared with other chunks
};

// Memory of a thread. Rows of neighbors are written consecutively into slabs, which are large to
// avoid frequent allocations.
class Workspace {
 public:
  Candidates candidates;

  std::int32_t* room_for_row(std::int64_t size, Neighborhoods& chunk) {
    if (slab_ == nullptr || used_ + size > std::ssize(*slab_)) {
      slab_ = std::make_shared<Buffer<std::int32_t>>(std::max(size, next_size_));
      next_size_ = std::min(2 * next_size_, kMaxSize);
      used_ = 0;
    }
    if (chunk.slabs.empty() || chunk.slabs.back() != slab_) chunk.slabs.push_back(slab_);
    return slab_->data() + used_;
  }
  void end_row(std::int64_t size) { used_ += size; }

 private:
  static constexpr std::int64_t kMaxSize = std::int64_t{1} << 19;  // 2 MiB

  Neighborhoods::Slab slab_;
  std::int64_t used_ = 0;
  std::int64_t next_size_ = std::int64_t{1} << 13;
};

[[noreturn]] void report_overlap(const Structure& structure, std::int32_t center,
                                 const Candidates& candidates) {
  const Image* images = structure.images.images();
  const Point& from = structure.images.points()[center];
  for (std::int64_t k = 0; k < candidates.size; ++k) {
    const double distance = std::hypot(candidates.x[k] - from.xyz[0], candidates.y[k] - from.xyz[1],
                                       candidates.z[k] - from.xyz[2]);
    if (distance >= kOverlapDistance || candidates.slots[k] == center) continue;
    const auto [i, j] = std::minmax(images[center].atom, images[candidates.slots[k]].atom);
    std::ostringstream message;
    message << "atoms " << i << " and " << j << name_structure(structure.number) << " are "
            << distance << " Å apart, closer than " << kOverlapDistance
            << " Å: they lie on top of each other; remove one of them or check the cell "
               "[EKD-STRUCTURE-008]";
    throw StructureError(message.str());
  }
  throw std::logic_error("ekd: an overlap was counted but not found");
}

// Neighbors of the centers of a chunk among the candidates from `gather(structure, slot, row,
// candidates)`; the center is one of its own candidates.
template <class Gather>
Neighborhoods select(const Centers& centers, std::int64_t chunk, double cutoff, Gather&& gather,
                     Workspace& workspace) {
  Neighborhoods found;
  centers.visit(chunk, [&](const Structure& structure, std::int32_t slot) {
    gather(structure, slot, found.rows.size(), workspace.candidates);
    std::int32_t* slots =
        workspace.room_for_row(workspace.candidates.size + Candidates::kSlack, found);
    const Selection selection = select_neighbors(
        workspace.candidates, structure.images.points()[slot], cutoff, kOverlapDistance, slots);
    if (selection.n_overlapping > 1) report_overlap(structure, slot, workspace.candidates);
    workspace.end_row(selection.n_neighbors);
    found.rows.push_back({slots, selection.n_neighbors});
  });
  return found;
}

// All images in the bins around the center. Consecutive centers in one bin share them.
class GatherFromBins {
 public:
  void operator()(const Structure& structure, std::int32_t slot, std::size_t,
                  Candidates& candidates) {
    const PeriodicImages& images = structure.images;
    const PeriodicImages::Bin bin = images.bin_of(images.points()[slot]);
    if (&structure == structure_ && bin == bin_) return;
    structure_ = &structure;
    bin_ = bin;
    candidates.size = 0;
    images.visit_around(bin, [&](std::int64_t begin, std::int64_t end) {
      candidates.reserve(candidates.size + end - begin);
      append_run(images, begin, end, candidates);
    });
  }

 private:
  const Structure* structure_ = nullptr;
  PeriodicImages::Bin bin_{};
};

// The neighbors that were found within a larger cutoff.
class GatherFromNeighborhoods {
 public:
  explicit GatherFromNeighborhoods(const Neighborhoods& wide) : wide_(wide) {}

  void operator()(const Structure& structure, std::int32_t slot, std::size_t row,
                  Candidates& candidates) const {
    const auto [slots, n] = wide_.rows[row];
    candidates.reserve(n + 1);
    candidates.size = n + 1;
    for (std::int64_t k = 0; k <= n; ++k) {
      const std::int32_t candidate = k < n ? slots[k] : slot;
      const Point& point = structure.images.points()[candidate];
      candidates.slots[k] = candidate;
      candidates.x[k] = point.xyz[0];
      candidates.y[k] = point.xyz[1];
      candidates.z[k] = point.xyz[2];
    }
  }

 private:
  const Neighborhoods& wide_;
};

// The neighbors of all centers, by chunk; `make_gather(chunk)` provides the candidates.
template <class MakeGather>
std::vector<Neighborhoods> select_all(const Centers& centers, double cutoff,
                                      const MakeGather& make_gather, int n_threads) {
  std::vector<Neighborhoods> found(centers.n_chunks());
  std::vector<Workspace> workspaces(n_threads);
  parallel_for(n_threads, centers.n_chunks(), [&](std::int64_t chunk, int thread) {
    found[chunk] = select(centers, chunk, cutoff, make_gather(chunk), workspaces[thread]);
  });
  return found;
}

std::vector<Neighborhoods> search(const Centers& centers, double cutoff, int n_threads) {
  return select_all(centers, cutoff, [](std::int64_t) { return GatherFromBins(); }, n_threads);
}

// Makes a list of the neighborhoods, which are freed on the way.
NeighborList write(const Centers& centers, std::vector<Neighborhoods> found, int n_threads,
                   const std::shared_ptr<BlockPool>& pool = BlockPool::common()) {
  NeighborList list;
  list.center_offsets.assign(centers.n_atoms() + 1, 0);
  for (std::int64_t chunk = 0; chunk < centers.n_chunks(); ++chunk) {
    auto row = found[chunk].rows.begin();
    centers.visit(chunk, [&](const Structure& structure, std::int32_t slot) {
      const std::int64_t atom = structure.first_atom + structure.images.images()[slot].atom;
      list.center_offsets[atom + 1] = row++->size;
    });
  }
  std::partial_sum(list.center_offsets.begin(), list.center_offsets.end(),
                   list.center_offsets.begin());
  for (std::int64_t s = 0; s <= centers.n_structures(); ++s)
    list.pair_offsets.push_back(list.center_offsets[centers.first_atom(s)]);

  const std::int64_t n_pairs = list.center_offsets.back();
  list.pairs = Buffer<std::int64_t>(2 * n_pairs, pool);
  list.cell_shifts = Buffer<std::int32_t>(3 * n_pairs, pool);
  list.pair_vectors = Buffer<double>(3 * n_pairs, pool);
  parallel_for(n_threads, centers.n_chunks(), [&](std::int64_t chunk, int) {
    const Neighborhoods neighborhoods = std::move(found[chunk]);
    auto row = neighborhoods.rows.begin();
    centers.visit(chunk, [&](const Structure& structure, std::int32_t slot) {
      const std::int64_t atom = structure.first_atom + structure.images.images()[slot].atom;
      const std::int64_t first = list.center_offsets[atom];
      write_pairs(structure.images, slot, row->slots, row->size, structure.first_atom,
                  {list.pairs.data() + first, list.pairs.data() + n_pairs + first,
                   list.cell_shifts.data() + 3 * first, list.pair_vectors.data() + 3 * first});
      ++row;
    });
  });
  return list;
}

}  // namespace

NeighborList build_neighbor_list(const StructureBatch& batch, double cutoff, int n_threads) {
  check_cutoff(cutoff);
  n_threads = useful_threads(n_threads, batch);
  const Centers centers(batch, cutoff, n_threads);
  return write(centers, search(centers, cutoff, n_threads), n_threads);
}

struct VerletList::State {
  State(double cutoff, double skin) : cutoff(cutoff), skin(skin) {}

  double cutoff;
  double skin;
  std::int64_t n_rebuilds = 0;
  std::mutex mutex;
  // Arrays are returned to it when the caller frees them, for the next update.
  std::shared_ptr<BlockPool> pool = std::make_shared<BlockPool>(0);
  // State of the last rebuild.
  std::unique_ptr<Centers> centers;
  std::vector<Neighborhoods> wide;  // within cutoff + skin
  std::vector<double> positions;
  std::vector<double> cell;
  std::vector<std::uint8_t> pbc;

  bool still_holds(const StructureBatch& structure) const {
    const std::int64_t n_values = 3 * structure.offsets[1];
    if (skin == 0.0 || centers == nullptr || n_values != std::ssize(positions) ||
        !same(cell, structure.cells) || !same(pbc, structure.pbc))
      return false;
    for (std::int64_t k = 0; k < n_values; k += 3) {
      const double dx = structure.positions[k] - positions[k];
      const double dy = structure.positions[k + 1] - positions[k + 1];
      const double dz = structure.positions[k + 2] - positions[k + 2];
      if (!(dx * dx + dy * dy + dz * dz <= 0.25 * skin * skin)) return false;  // also if NaN
    }
    return true;
  }

  void rebuild(const StructureBatch& structure, int n_threads) {
    centers.reset();  // after an exception below, the next update rebuilds
    auto rebuilt = std::make_unique<Centers>(structure, cutoff + skin, n_threads);
    wide = search(*rebuilt, cutoff + skin, n_threads);
    positions.assign(structure.positions, structure.positions + 3 * structure.offsets[1]);
    remember(cell, structure.cells, 9);
    remember(pbc, structure.pbc, 3);
    centers = std::move(rebuilt);
    ++n_rebuilds;
  }

 private:
  template <class T>
  static bool same(const std::vector<T>& known, const T* values) {
    if (values == nullptr || known.empty()) return values == nullptr && known.empty();
    return std::equal(known.begin(), known.end(), values);
  }
  template <class T>
  static void remember(std::vector<T>& known, const T* values, std::size_t n) {
    known.clear();
    if (values != nullptr) known.assign(values, values + n);
  }
};

VerletList::VerletList(double cutoff, double skin) : state_(std::make_unique<State>(cutoff, skin)) {
  check_cutoff(cutoff);
  if (!(skin >= 0.0) || !std::isfinite(skin))
    throw StructureError("the skin is " + std::to_string(skin) +
                         " Å; it must be zero or positive, and finite [EKD-CONFIG-011]");
}

VerletList::~VerletList() = default;

NeighborList VerletList::update(const StructureBatch& structure, int n_threads) {
  State& state = *state_;
  const std::lock_guard lock(state.mutex);
  n_threads = useful_threads(n_threads, structure);
  if (state.still_holds(structure))
    state.centers->move(structure.positions);
  else
    state.rebuild(structure, n_threads);
  const Centers& centers = *state.centers;
  std::vector<Neighborhoods> found;
  if (state.skin == 0.0) {
    found = std::move(state.wide);
  } else {
    found = select_all(
        centers, state.cutoff,
        [&](std::int64_t chunk) { return GatherFromNeighborhoods(state.wide[chunk]); }, n_threads);
  }
  NeighborList list = write(centers, std::move(found), n_threads, state.pool);
  state.pool->set_limit(list.pairs.capacity_in_bytes() + list.cell_shifts.capacity_in_bytes() +
                        list.pair_vectors.capacity_in_bytes());
  return list;
}

std::int64_t VerletList::n_rebuilds() const { return state_->n_rebuilds; }

}  // namespace ekd
