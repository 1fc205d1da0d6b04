#include "gpu/library.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace stillbit {
namespace {

constexpr const char* kFileName = "libstillbit_cuda.so";

/// Where it may be: where STILLBIT_CUDA_LIBRARY says; else beside what this code is in, or where libraries are.
std::vector<std::string> candidates() {
  if (const char* path = std::getenv("STILLBIT_CUDA_LIBRARY"); path != nullptr) return {path};
  std::vector<std::string> paths;
  Dl_info own{};
  if (::dladdr(reinterpret_cast<const void*>(&cuda_backend), &own) != 0 && own.dli_fname != nullptr) {
    const std::filesystem::path folder = std::filesystem::path(own.dli_fname).parent_path();
    paths.push_back((folder / kFileName).string());
    paths.push_back((folder / "../lib" / kFileName).string());
  }
  paths.emplace_back(kFileName);
  return paths;
}

Fault no_gpu(const std::string& why) {
  return {ErrorCode::kDevice, "no GPU: " + why};
}

Result<const cuda::Backend*> load() {
  void* library = nullptr;
  std::string why;
  for (const std::string& path : candidates()) {
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    if (const char* error = ::dlerror(); error != nullptr) why = error;
  }
  if (library == nullptr) return no_gpu(std::string(kFileName) + " cannot be loaded, was it built? (" + why + ")");
  using Get = const cuda::Backend* (*)();
  const auto get = reinterpret_cast<Get>(::dlsym(library, cuda::kBackendSymbol));
  if (get == nullptr) return no_gpu(std::string(kFileName) + " is not Stillbit's");
  const cuda::Backend* backend = get();
  if (backend->version != cuda::kBackendVersion) return no_gpu(std::string(kFileName) + " is of another build");
  return backend;
}

}  // namespace

Result<const cuda::Backend*> cuda_backend() {
  static const Result<const cuda::Backend*> loaded = load();
  return loaded;
}

}  // namespace stillbit
