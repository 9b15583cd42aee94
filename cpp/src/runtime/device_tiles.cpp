#include "device_tiles.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <type_traits>

#include "ekd/error.hpp"

namespace ekd {
namespace {

constexpr int kMostThreads = 256;  // per block, see program.cu

// Reads "16x256"; false: the text has another form, or a number is too large.
bool read_tile(const std::string& text, Tile& tile) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, tile.centers);
  if (error != std::errc() || stop == end || *stop != 'x') return false;
  const auto [last, second_error] = std::from_chars(stop + 1, end, tile.threads);
  return second_error == std::errc() && last == end;
}

// EKD_TILE=16x256 in the environment selects blocks of 16 centers and 256 threads, for tuning.
std::optional<Tile> tile_asked_for() {
  const char* const text = std::getenv("EKD_TILE");
  if (text == nullptr || *text == '\0') return std::nullopt;
  Tile tile{};
  if (!read_tile(text, tile) || tile.centers < 4 || tile.centers % 4 != 0 ||
      tile.threads < tile.centers || tile.threads > kMostThreads)
    throw Error("EKD_TILE is '" + std::string(text) +
                "', expected centers x threads, such as 16x256: centers a multiple of 4, threads "
                "no fewer than those and at most " +
                std::to_string(kMostThreads) + " [EKD-DEVICE-013]");
  return tile;
}

// Half of the shared memory, so that a second block fits on a multiprocessor.
template <class Bytes>
Tile choose_tile(const device::Device& on, const Bytes& bytes) {
  const auto fits = [&](const Tile& tile, std::size_t most) {
    return static_cast<std::size_t>(bytes(tile)) <= most;
  };
  if (const std::optional<Tile> asked = tile_asked_for()) {
    if (fits(*asked, on.shared_memory())) return *asked;
    throw Error("EKD_TILE: such blocks need " + std::to_string(bytes(*asked)) +
                " bytes of shared memory, and one of " + on.name() + " has " +
                std::to_string(on.shared_memory()) + "; use fewer centers [EKD-DEVICE-013]");
  }
  if (!on.is_parallel()) {
    const Tile small{8, 16};
    return fits(small, on.shared_memory()) ? small : Tile{4, 12};
  }
  for (const Tile tile : {Tile{32, 256}, Tile{16, 256}, Tile{16, 128}, Tile{8, 128}})
    if (fits(tile, on.shared_memory() / 2 - 1024)) return tile;
  for (const Tile tile : {Tile{8, 128}, Tile{4, 128}})
    if (fits(tile, on.shared_memory())) return tile;
  return {4, 64};
}

// The number of tensor components as a compile-time constant.
template <class Act>
auto with_components(int components, const Act& act) {
  if (components == 1) return act(std::integral_constant<int, 1>());
  if (components == 4) return act(std::integral_constant<int, 4>());
  return act(std::integral_constant<int, 9>());
}

}  // namespace

template <class T>
std::int64_t DeviceTiles<T>::species_bytes(const Tile& tile) const {
  return with_components(components_, [&](auto c) {
    device::Carver carver(nullptr);
    return device::SpeciesMemory<T, c()>(carver, interactions_[0].weights, tile.centers,
                                         tile.threads)
        .bytes;
  });
}

template <class T>
std::int64_t DeviceTiles<T>::layer_bytes(std::size_t k, const Tile& tile) const {
  device::Carver carver(nullptr);
  const auto& w = interactions_[k].weights;
  carver.take<T>(static_cast<std::int64_t>(tile.centers) * components_ * w.out_width);
  const device::LayerMemory<T> layers(carver, w, tile.centers);
  return carver.used();
}

template <class T>
std::int64_t DeviceTiles<T>::mix_bytes(std::size_t k, const Tile& tile) const {
  return with_components(components_, [&](auto c) {
    device::Carver carver(nullptr);
    const device::PairMemory<T, c()> memory(carver, interactions_[k].weights, tile.centers, false);
    if (!on_.is_parallel()) carver.take<T>(std::int64_t(tile.threads) * 4 * c());
    return carver.used();
  });
}

template <class T>
std::int64_t DeviceTiles<T>::differentiate_bytes(std::size_t k, const Tile& tile, int slice) const {
  return with_components(components_, [&](auto c) {
    device::Carver carver(nullptr);
    const auto& w = interactions_[k].weights;
    const std::int64_t n = tile.centers;
    const device::PairMemory<T, c()> memory(carver, w, tile.centers, true);
    carver.take<T>(n * w.n_sensitivities * slice);
    carver.take<T>(n * device::kPairsTogether * c() * (slice / 4 + 1));
    carver.take<double>(n * device::kPairsTogether * device::kSums);
    carver.take<T>(n * device::kPairsTogether * c());
    return carver.used();
  });
}

template <class T>
DeviceTiles<T>::DeviceTiles(const device::Device& on,
                            const std::vector<DeviceInteraction<T>>& interactions, int components)
    : on_(on), interactions_(interactions), components_(components) {
  species_ = choose_tile(on_, [&](const Tile& tile) { return species_bytes(tile); });
  require_room(species_bytes(species_), "its first interaction");
  layers_ = choose_tile(on_, [&](const Tile& tile) {
    std::int64_t most = 0;
    for (std::size_t k = 0; k < interactions_.size(); ++k)
      most = std::max(most, layer_bytes(k, tile));
    return most;
  });
  for (std::size_t k = 1; k < interactions_.size(); ++k) {
    require_room(layer_bytes(k, layers_), "its layers");
    for (const auto& slice : interactions_[k].slices)
      require_room(differentiate_bytes(k, pairs(k, slice.width), slice.width),
                   "a later interaction");
  }
}

template <class T>
void DeviceTiles<T>::require_room(std::int64_t bytes, const std::string& what) const {
  if (bytes <= static_cast<std::int64_t>(on_.shared_memory())) return;
  throw DeviceError("the network is too wide for " + on_.name() + ": " + what + " needs " +
                    std::to_string(bytes) + " bytes of shared memory, and a block has " +
                    std::to_string(on_.shared_memory()) +
                    "; use precision single, or device cpu [EKD-DEVICE-011]");
}

template <class T>
Tile DeviceTiles<T>::pairs(std::size_t k, int slice) const {
  const int lanes = slice / 4;
  int centers = std::max(1, (on_.is_parallel() ? 64 : 2 * lanes) / lanes);
  while (centers > 1 && differentiate_bytes(k, {centers, centers * lanes}, slice) >
                            static_cast<std::int64_t>(on_.shared_memory() / 4))
    --centers;
  return {centers, std::max(centers * lanes, centers)};
}

template class DeviceTiles<float>;
template class DeviceTiles<double>;

}  // namespace ekd
