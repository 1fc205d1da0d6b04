#pragma once

#include <cstddef>
#include <span>

namespace stillbit::cpu {

/// Asks the system for the pages of memory that is new to the process and about to be written, all in one: touched one
/// by one, each is a fault, which takes half as long again. What the memory holds does not change.
void request_pages(std::span<std::byte> memory) noexcept;

/// Asks for large pages where memory that is new to the process is large: fewer faults, and faster ones.
void prefer_large_pages(std::span<std::byte> memory) noexcept;

}  // namespace stillbit::cpu
