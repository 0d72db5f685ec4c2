// The .npy reader on any bytes: an Error, or an array of which every element can be read.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/npy.h"
#include "fovea/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    // A copy of exactly this size, so that the address sanitizer sees a read past its end.
    const fovea::NpyArray array = fovea::read_npy(fovea::FileBytes::copy_of(bytes, "fuzz"));
    const auto count = static_cast<std::size_t>(array.header.count);
    switch (array.header.type) {
      case fovea::NpyType::kFloat16:
      case fovea::NpyType::kFloat32:
      case fovea::NpyType::kFloat64: {
        std::vector<float> values(count);
        fovea::copy_to_float(array, values.data());
        break;
      }
      default: {
        std::vector<std::int64_t> values(count);
        fovea::copy_to_int64(array, values.data());
      }
    }
    (void)array.is_plain();
  } catch (const fovea::Error&) {
  }
  return 0;
}
