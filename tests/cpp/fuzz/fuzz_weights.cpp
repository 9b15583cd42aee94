#include <vector>

#include "ekd/error.hpp"
#include "ekd/model_metadata.hpp"
#include "ekd/weights.hpp"
#include "input.hpp"
#include "interaction_weights.hpp"

// The input consists of the metadata, the description of the weights and the numbers, separated by
// lines that contain "---".
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view kLine = "\n---\n";
  const std::string_view input = text_of(data, size);
  const std::size_t first = input.find(kLine);
  if (first == std::string_view::npos) return 0;
  const std::size_t second = input.find(kLine, first + kLine.size());
  if (second == std::string_view::npos) return 0;
  const std::string metadata(input.substr(0, first));
  const std::string description(input.substr(first + kLine.size(), second - first - kLine.size()));
  const std::string_view numbers = input.substr(second + kLine.size());
  try {
    const auto found = ekd::parse_model_metadata("4", metadata, "student.pt");
    const auto members =
        ekd::parse_weights(description, {numbers.begin(), numbers.end()}, found, "student.pt");
    for (const ekd::HipnnWeights& member : members) {
      ekd::check_network(member);
      for (std::size_t k = 0; k + 1 < member.feature_widths.size(); ++k) {
        const ekd::InteractionWeights<double> in_double(member, k);
        const ekd::InteractionWeights<float> in_single(member, k);
        require(in_double.n_sensitivities() == in_single.n_sensitivities(),
                "the numbers of sensitivities differ");
      }
    }
  } catch (const ekd::ModelFileError&) {
  }
  return 0;
}
