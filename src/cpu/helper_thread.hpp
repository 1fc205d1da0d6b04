#pragma once

#include <functional>

namespace stillbit::cpu {

/// Does `work` on a thread that nobody waits for, and that begins at once on another processor than the caller's: left
/// to itself, Linux may start it on the caller's, where it waits for the end of a time slice, 1 to 4 ms, while another
/// processor has nothing to do. Once it runs it may do so wherever the caller may. Throws std::system_error where the
/// system has no more threads to give. `work` throws nothing.
void start_helper(std::function<void()> work);

}  // namespace stillbit::cpu
