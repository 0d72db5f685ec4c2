// Tiny MarianMT folders for the tests: written here byte by byte, so that the reader is tested
// against the format and not against itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace fovea::test {

struct Array {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

using Arrays = std::map<std::string, Array>;

// A folder that is gone when this object is.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& bytes) const;

 private:
  std::filesystem::path path_;
};

// The bytes of a safetensors file with any header, true or not.
std::string safetensors_bytes(const std::string& header, const std::string& data);
std::string safetensors_bytes(const Arrays& arrays);  // F32

struct Sizes {
  int width = 12;
  int encoder_layers = 2;
  int decoder_layers = 2;
  int encoder_heads = 3;
  int decoder_heads = 2;
  int encoder_ffn = 10;
  int decoder_ffn = 14;
  int vocabulary = 11;
  int positions = 16;
  std::string activation = "swish";
};

// config.json for these sizes: shared and tied, embeddings scaled, end 0, start and pad the last
// id.
std::string config_text(const Sizes& sizes, const std::string& more = "");
// Every tensor of such a model, random.
Arrays random_weights(const Sizes& sizes, std::uint64_t seed);

void write_model(const Folder& folder, const Sizes& sizes, const Arrays& arrays,
                 const std::string& more = "");

// What MarianMTModel computes, in fp64, by the formulas, loop by loop: logits [T, V] and, if asked
// for, cross-attention weights [L, H, T, S].
std::vector<double> plain_logits(const Sizes& sizes, const Arrays& arrays,
                                 const std::vector<std::int32_t>& source,
                                 const std::vector<std::int32_t>& target,
                                 std::vector<double>* cross = nullptr);

// The encoder's output in fp64, [S][d].
std::vector<std::vector<double>> plain_encoder(const Sizes& sizes, const Arrays& arrays,
                                               const std::vector<std::int32_t>& source);

// What a call throws; empty if it throws nothing.
template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace fovea::test
