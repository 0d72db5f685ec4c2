// The safetensors reader on any bytes: an Error or tensors that can be read to their last byte.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fovea/error.h"
#include "models/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const fovea::Safetensors file =
        fovea::Safetensors::parse(fovea::FileBytes::copy_of(bytes, "fuzz"));
    for (const fovea::Tensor& tensor : file.tensors()) {
      try {
        const std::vector<float> values = file.floats(tensor);
        if (values.size() * static_cast<std::size_t>(tensor.type.bytes) !=
            tensor.end - tensor.begin) {
          __builtin_trap();
        }
      } catch (const fovea::Error&) {
      }
    }
  } catch (const fovea::Error&) {
  }
  return 0;
}
