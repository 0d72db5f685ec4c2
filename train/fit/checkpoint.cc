#include "checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "files.h"

namespace fovea::fit {
namespace {

namespace fs = std::filesystem;
constexpr char kMagic[] = "FOVEACK1";

struct Header {
  char magic[8];
  std::int32_t shape[8];
  std::int64_t parameters;
  State state;
};

Header header_of(const Parameters& parameters, const State& state) {
  Header header;
  std::memset(static_cast<void*>(&header), 0, sizeof header);
  std::memcpy(header.magic, kMagic, 8);
  std::memcpy(header.shape, parameters.numbers().data(), sizeof header.shape);
  header.parameters = parameters.count();
  header.state = state;
  return header;
}

std::uint64_t checksum(std::uint64_t sum, const void* data, std::size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(data);
  for (; bytes >= 8; bytes -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    sum = (sum ^ word) * 1099511628211ULL;
    sum ^= sum >> 29;
  }
  for (; bytes > 0; --bytes, ++at) sum = (sum ^ *at) * 1099511628211ULL;
  return sum;
}

std::vector<fs::path> checkpoints(const std::string& folder) {
  std::vector<fs::path> found;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.rfind("checkpoint-", 0) == 0 && entry.path().extension() == ".bin")
      found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());  // steps have a fixed number of digits: newest first
  return found;
}

template <typename Visit>
void each_tensor(const Parameters& parameters, const Visit& visit) {
  for (const Parameter& p : parameters.all()) {
    for (const torch::Tensor* tensor : {&p.value, &p.first, &p.second, &p.averaged}) visit(*tensor);
  }
}

State read(const fs::path& path, Parameters& parameters) {
  std::ifstream in(path, std::ios::binary);
  std::uint64_t sum = 0;
  auto get = [&](void* data, std::size_t bytes) {
    in.read(static_cast<char*>(data), static_cast<std::streamsize>(bytes));
    if (!in) throw std::runtime_error("it ends too early");
    sum = checksum(sum, data, bytes);
  };
  Header header;
  get(&header, sizeof header);
  const Header wanted = header_of(parameters, header.state);
  if (std::memcmp(header.magic, wanted.magic, 8) != 0) throw std::runtime_error("not a checkpoint");
  if (std::memcmp(header.shape, wanted.shape, sizeof wanted.shape) != 0 ||
      header.parameters != wanted.parameters) {
    throw std::invalid_argument(
        "it is of a model of another shape; give the same options, or another --run");
  }
  // Into memory first: a broken file must leave the parameters alone.
  std::vector<torch::Tensor> loaded;
  each_tensor(parameters, [&](const torch::Tensor& tensor) {
    loaded.push_back(torch::empty(tensor.sizes(), torch::kFloat));
    get(loaded.back().data_ptr(), loaded.back().nbytes());
  });
  std::uint64_t stored = 0;
  in.read(reinterpret_cast<char*>(&stored), sizeof stored);
  if (!in || stored != sum) throw std::runtime_error("its checksum is wrong");
  torch::NoGradGuard no_grad;
  std::size_t i = 0;
  each_tensor(parameters, [&](const torch::Tensor& tensor) { tensor.data().copy_(loaded[i++]); });
  parameters.refresh_leaves(false);
  return header.state;
}

}  // namespace

void save_checkpoint(const std::string& folder, const Parameters& parameters, const State& state) {
  char name[64];
  std::snprintf(name, sizeof name, "/checkpoint-%09lld.bin", static_cast<long long>(state.step));
  write_whole(folder + name, [&](Writer& out) {
    std::uint64_t sum = 0;
    auto put = [&](const void* data, std::size_t bytes) {
      out.write(data, bytes);
      sum = checksum(sum, data, bytes);
    };
    const Header header = header_of(parameters, state);
    put(&header, sizeof header);
    each_tensor(parameters, [&](const torch::Tensor& tensor) {
      const torch::Tensor here = tensor.to(torch::kCPU);
      put(here.data_ptr(), here.nbytes());
    });
    out.write(&sum, sizeof sum);
  });
  const auto found = checkpoints(folder);
  for (std::size_t i = 2; i < found.size(); ++i) fs::remove(found[i]);
}

std::optional<State> load_checkpoint(const std::string& folder, Parameters& parameters) {
  for (const fs::path& path : checkpoints(folder)) {
    try {
      return read(path, parameters);
    } catch (const std::invalid_argument& error) {
      throw std::runtime_error(path.string() + ": " + error.what());
    } catch (const std::runtime_error& error) {
      std::fprintf(stderr, "%s: passed over: %s\n", path.c_str(), error.what());
    }
  }
  return std::nullopt;
}

bool has_checkpoint(const std::string& folder) { return !checkpoints(folder).empty(); }

}  // namespace fovea::fit
