#include <xxhash.h>

#include <cstdint>

// Compiled for AVX2, which the hash then uses; reached only on machines that have it.

namespace stillbit::cpu::avx2 {

std::uint64_t digest(const void* data, std::size_t size);
std::uint64_t digest(const void* data, std::size_t size) {
  return XXH3_64bits(data, size);
}

void update(void* state, const void* data, std::size_t size);
void update(void* state, const void* data, std::size_t size) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state), data, size);
}

}  // namespace stillbit::cpu::avx2
