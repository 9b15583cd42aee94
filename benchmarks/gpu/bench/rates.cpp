#include "rates.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "../../../cpp/src/device/device.hpp"
#include "../../../cpp/src/runtime/device_engine.hpp"
#include "device_memory.hpp"
#include "ekd/error.hpp"
#include "ekd/exported_model.hpp"
#include "ekd/host_rows.hpp"
#include "ekd/model_file.hpp"
#include "ekd/structure_results.hpp"
#include "record.hpp"
#include "structures.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr double kAllowed = 1e-3;  // of forces in float32, as a part of the largest

ekd::ModelOptions options_of(const RatePlan& plan, const std::string& device) {
  ekd::ModelOptions options;
  options.device = device;
  options.precision =
      plan.precision == "float64" ? ekd::Precision::kDouble : ekd::Precision::kSingle;
  return options;
}

class NoDeviceExchange final : public ekd::DeviceExchange {
 public:
  bool is_needed() const override { return false; }
  void copy_to_ghosts(void*, std::int64_t, bool) override {}
};

struct Times {
  double median = 0.0, fastest = 0.0;
  std::int64_t n = 0;
};

// Of a call that has been warmed up.
template <class Call>
Times time_calls(double seconds, const Call& call) {
  std::vector<double> found;
  const Clock::time_point start = Clock::now();
  while (found.size() < 3 || (since(start) < seconds && found.size() < 10000)) {
    const Clock::time_point begin = Clock::now();
    call();
    found.push_back(since(begin));
  }
  std::sort(found.begin(), found.end());
  return {found[found.size() / 2], found.front(), std::ssize(found)};
}

// Positions, rows and results in the memory of a device.
class OnDevice {
 public:
  OnDevice(std::shared_ptr<ekd::device::Device> on, const Supercell& cell)
      : on_(std::move(on)),
        n_owned_(cell.n_owned()),
        n_atoms_(cell.n_atoms()),
        species_(on_),
        owners_(on_),
        counts_(on_),
        neighbors_(on_),
        positions_(on_),
        energies_(on_),
        forces_(on_) {
    atoms_.n_atoms = static_cast<int>(cell.n_atoms());
    atoms_.n_centers = atoms_.n_owned = static_cast<int>(cell.n_owned());
    atoms_.species = species_.set(cell.species().data(), cell.n_atoms());
    atoms_.owners = owners_.set(cell.owners().data(), cell.n_atoms());
    atoms_.positions = positions_.set(cell.positions().data(), 3 * cell.n_atoms());
    atoms_.counts = counts_.set(cell.counts().data(), cell.n_owned());
    const ekd::Buffer<int> columns = cell.columns();
    atoms_.neighbors = neighbors_.set(columns.data(), columns.size());
    atoms_.row_stride = 1;
    atoms_.column_stride = cell.n_owned();
    atoms_.most_neighbors = cell.most_neighbors();
    energies_.reserve(n_owned_);
    forces_.reserve(3 * n_atoms_);
  }

  const ekd::DeviceAtoms& atoms() const { return atoms_; }
  double* cleared_energies() { return energies_.reserve_cleared(n_owned_); }
  double* cleared_forces() { return forces_.reserve_cleared(3 * n_atoms_); }

  void evaluate(ekd::ExportedModel& model) {
    ekd::DeviceResults results;
    results.energies = cleared_energies();
    results.forces = cleared_forces();
    const std::vector<ekd::DeviceRows*> members = model.on_device();
    results.scale = 1.0 / static_cast<double>(members.size());
    NoDeviceExchange nothing;
    for (ekd::DeviceRows* const member : members) member->evaluate_rows(atoms_, nothing, results);
  }

  std::vector<double> forces() const {
    std::vector<double> found(3 * n_owned_);
    forces_.get(found.data(), found.size());
    return found;
  }

 private:
  std::shared_ptr<ekd::device::Device> on_;
  std::int64_t n_owned_, n_atoms_;
  ekd::DeviceAtoms atoms_;
  ekd::device::Array<int> species_, owners_, counts_, neighbors_;
  ekd::device::Array<double> positions_, energies_, forces_;
};

// Forces of the unit by the kernels of the host, which each of its copies must have.
std::vector<double> unit_forces(const RatePlan& plan, const Structure& unit) {
  ekd::ExportedModel host(plan.model, options_of(plan, "cpu"));
  const ekd::NeighborList list = unit.pairs(host.metadata().cutoff, plan.n_threads);
  ekd::AtomGraph graph;
  graph.n_atoms = graph.n_centers = graph.n_owned = unit.n_atoms();
  graph.species = unit.species.data();
  graph.n_pairs = static_cast<std::int64_t>(list.n_pairs());
  graph.offsets = list.center_offsets.data();
  graph.neighbors = list.neighbors().data();
  graph.pair_vectors = list.pair_vectors.data();
  graph.n_threads = plan.n_threads;
  const ekd::StructureResults found = ekd::evaluate_structure(host, graph);
  return {found.forces.begin(), found.forces.end()};
}

// The largest difference, as a part of the largest force.
double difference(const Supercell& cell, const std::vector<double>& found,
                  const std::vector<double>& of_unit) {
  double most = 1e-3, off = 0.0;
  for (const double force : of_unit) most = std::max(most, std::abs(force));
  for (std::int64_t i = 0; i < cell.n_owned(); ++i)
    for (int d = 0; d < 3; ++d) {
      const double one = std::abs(found[3 * i + d] - of_unit[3 * cell.of_unit(i) + d]);
      if (!(one <= off)) off = one;
      if (std::isnan(off)) return off;
    }
  return off / most;
}

Record describe(const std::string& kind, const RatePlan& plan) {
  Record record(kind);
  record.add("model", std::filesystem::path(plan.model).stem().string())
      .add("structure", std::filesystem::path(plan.structure).stem().string())
      .add("precision", plan.precision);
  return record;
}

void add_rate(Record& record, const Times& times, std::int64_t n_atoms) {
  record.add("seconds", times.median)
      .add("fastest_seconds", times.fastest)
      .add("evaluations", times.n)
      .add("atom_steps_per_s", static_cast<double>(n_atoms) / times.median);
}

constexpr const char* kDefaultTile = "default";

void choose_tile(const std::string& tile) {
  if (tile.empty() || tile == kDefaultTile)
    unsetenv("EKD_TILE");
  else
    setenv("EKD_TILE", tile.c_str(), 1);
}

}  // namespace

int measure_rates(const RatePlan& plan) {
  int failed = 0;
  const std::shared_ptr<ekd::device::Device> on = ekd::device::open_device(plan.device);
  const ekd::ModelMetadata metadata = ekd::read_model_file(plan.model).metadata;
  const Structure unit = read_structure(plan.structure, metadata);
  const std::vector<double> expected = unit_forces(plan, unit);
  const std::string given = std::getenv("EKD_TILE") == nullptr ? "" : std::getenv("EKD_TILE");
  const std::vector<std::string> tiles =
      plan.tiles.empty() ? std::vector<std::string>{given} : plan.tiles;
  for (const std::int64_t size : plan.sizes) {
    const Clock::time_point start = Clock::now();
    std::optional<Supercell> cell;
    std::optional<OnDevice> there;
    try {
      cell.emplace(unit, repeats_for(unit.n_atoms(), size), metadata.cutoff + plan.skin,
                   plan.n_threads);
      there.emplace(on, *cell);
    } catch (const std::exception& error) {
      describe("no room", plan).add("atoms", size).add("error", error.what()).print();
      return failed;
    }
    const double setup = since(start);
    bool fits = false;
    for (const std::string& tile : tiles) {
      choose_tile(tile);
      Record record = describe("rate", plan);
      record.add("atoms", cell->n_owned())
          .add("ghosts", cell->n_atoms() - cell->n_owned())
          .add("neighbors", cell->mean_neighbors())
          .add("tile", tile.empty() ? kDefaultTile : tile)
          .add("setup_seconds", setup);
      try {
        ekd::ExportedModel model(plan.model, options_of(plan, plan.device));
        there->evaluate(model);
        fits = true;
        const double off = difference(*cell, there->forces(), expected);
        there->evaluate(model);
        add_rate(record, time_calls(plan.seconds, [&] { there->evaluate(model); }),
                 cell->n_owned());
        const DeviceMemory memory = device_memory(plan.device);
        record.add("memory_bytes", memory.used).add("memory_total_bytes", memory.total);
        record.add("largest", off).add("allowed", kAllowed).add("passed", off <= kAllowed);
        if (!(off <= kAllowed)) ++failed;
      } catch (const std::exception& error) {
        record.add("error", error.what());
      }
      record.print();
    }
    if (!fits) break;
  }
  choose_tile(given);
  return failed;
}

int measure_with_transfers(const RatePlan& plan) {
  const ekd::ModelMetadata metadata = ekd::read_model_file(plan.model).metadata;
  const Structure unit = read_structure(plan.structure, metadata);
  const std::vector<double> expected = unit_forces(plan, unit);
  int failed = 0;
  for (const std::int64_t size : plan.sizes) {
    const Supercell cell(unit, repeats_for(unit.n_atoms(), size), metadata.cutoff + plan.skin,
                         plan.n_threads);
    std::vector<const int*> starts;
    const std::vector<int> rows = cell.rows(starts);
    ekd::HostRows host;
    host.n_atoms = cell.n_atoms();
    host.n_owned = cell.n_owned();
    host.species = cell.species().data();
    host.owners = cell.owners().data();
    host.counts = cell.counts().data();
    host.rows = starts.data();
    ekd::ExportedModel model(plan.model, options_of(plan, plan.device));
    ekd::HostRowsEvaluator evaluator(model);
    const Clock::time_point start = Clock::now();
    evaluator.set_rows(host);
    const double list = since(start);
    ekd::NoExchange nothing;
    const auto evaluate = [&]() -> const ekd::HostResults& {
      return evaluator.evaluate(cell.positions().data(), {}, nothing);
    };
    const double off = difference(cell, evaluate().forces, expected);
    evaluate();
    Record record = describe("rate with transfers", plan);
    record.add("atoms", cell.n_owned())
        .add("ghosts", cell.n_atoms() - cell.n_owned())
        .add("list_seconds", list);
    add_rate(record, time_calls(plan.seconds, evaluate), cell.n_owned());
    record.add("largest", off).add("allowed", kAllowed).add("passed", off <= kAllowed).print();
    if (!(off <= kAllowed)) ++failed;
  }
  return failed;
}

namespace {

// A device that waits for each launch and remembers how long it took.
class TimedProgram final : public ekd::device::Program {
 public:
  using Totals = std::map<ekd::device::Kernel, std::pair<std::int64_t, double>>;

  TimedProgram(std::unique_ptr<ekd::device::Program> program, ekd::device::Device& on,
               const void* memory, Totals& totals)
      : program_(std::move(program)), on_(on), memory_(memory), totals_(totals) {}

 private:
  void launch_number(std::size_t number, const ekd::device::Launch& launch,
                     const void* argument) override {
    const auto kernel = static_cast<ekd::device::Kernel>(number);
    wait();
    const Clock::time_point start = Clock::now();
    program_->launch(kernel, launch, argument);
    wait();
    auto& [n, seconds] = totals_[kernel];
    ++n;
    seconds += since(start);
  }

  void wait() {
    int ignored = 0;
    on_.read(&ignored, memory_, sizeof(ignored));
  }

  std::unique_ptr<ekd::device::Program> program_;
  ekd::device::Device& on_;
  const void* memory_;
  Totals& totals_;
};

class TimedDevice final : public ekd::device::Device {
 public:
  explicit TimedDevice(std::shared_ptr<ekd::device::Device> device)
      : device_(std::move(device)), memory_(device_->allocate(256)) {
    device_->clear(memory_, 256);
  }
  ~TimedDevice() override { device_->release(memory_); }

  const std::string& name() const override { return device_->name(); }
  std::size_t shared_memory() const override { return device_->shared_memory(); }
  bool is_parallel() const override { return device_->is_parallel(); }
  void* allocate(std::size_t bytes) override { return device_->allocate(bytes); }
  void release(void* memory) noexcept override { device_->release(memory); }
  void write(void* to, const void* from, std::size_t n) override { device_->write(to, from, n); }
  void read(void* to, const void* from, std::size_t n) override { device_->read(to, from, n); }
  void clear(void* memory, std::size_t bytes) override { device_->clear(memory, bytes); }
  void* allocate_host(std::size_t bytes) override { return device_->allocate_host(bytes); }
  void release_host(void* memory) noexcept override { device_->release_host(memory); }
  void send(void* to, const void* from, std::size_t n) override { device_->send(to, from, n); }
  void fetch(void* to, const void* from, std::size_t n) override { device_->fetch(to, from, n); }
  std::unique_ptr<ekd::device::Mark> make_mark() override { return device_->make_mark(); }
  std::unique_ptr<ekd::device::Program> compile(const ekd::device::ProgramKey& key) override {
    return std::make_unique<TimedProgram>(device_->compile(key), *device_, memory_, totals);
  }

  TimedProgram::Totals totals;

 private:
  std::shared_ptr<ekd::device::Device> device_;
  void* memory_;
};

template <class T>
void time_kernels(const RatePlan& plan, const Supercell& cell) {
  const auto on = std::make_shared<TimedDevice>(ekd::device::open_device(plan.device));
  ekd::ModelFile file = ekd::read_model_file(plan.model);
  ekd::DeviceEngine<T> engine(ekd::read_weights(file).front(), on, 0);
  OnDevice there(on, cell);
  ekd::device::Array<ekd::device::Int64> fixed(on);
  ekd::device::Array<unsigned> status(on);
  NoDeviceExchange nothing;
  const auto evaluate = [&] {
    ekd::device::Results results{};
    results.energies = there.cleared_energies();
    results.fixed_forces = fixed.reserve_cleared(3 * cell.n_atoms());
    results.status = status.reserve_cleared(1);
    results.scale = 1.0;
    engine.evaluate(there.atoms(), nullptr, nothing, results, nullptr);
  };
  evaluate();
  on->totals.clear();
  const Clock::time_point start = Clock::now();
  std::int64_t n = 0;
  while (n < 3 || since(start) < plan.seconds) {
    evaluate();
    ++n;
  }
#define EKD_KERNEL_TEXT(name, Argument, call) #name,
  const char* const names[] = {EKD_EACH_KERNEL(EKD_KERNEL_TEXT)};
#undef EKD_KERNEL_TEXT
  for (const auto& [kernel, total] : on->totals) {
    Record record = describe("kernel", plan);
    record.add("atoms", cell.n_owned())
        .add("kernel", names[static_cast<std::size_t>(kernel)])
        .add("launches", total.first / n)
        .add("seconds", total.second / static_cast<double>(n))
        .print();
  }
}

}  // namespace

int measure_kernels(const RatePlan& plan) {
  const ekd::ModelMetadata metadata = ekd::read_model_file(plan.model).metadata;
  const Structure unit = read_structure(plan.structure, metadata);
  for (const std::int64_t size : plan.sizes) {
    const Supercell cell(unit, repeats_for(unit.n_atoms(), size), metadata.cutoff + plan.skin,
                         plan.n_threads);
    if (plan.precision == "float64")
      time_kernels<double>(plan, cell);
    else
      time_kernels<float>(plan, cell);
  }
  return 0;
}

int measure_opening(const RatePlan& plan) {
  for (const char* const order : {"first", "second"}) {
    const Clock::time_point start = Clock::now();
    const ekd::ExportedModel model(plan.model, options_of(plan, plan.device));
    Record record = describe("opening", plan);
    record.add("order", order).add("seconds", since(start)).print();
  }
  return 0;
}

}  // namespace bench
