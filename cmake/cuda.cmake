# CUDA, where it is wanted and there: sets STILLBIT_HAS_CUDA.
# The headers alone serve tests that need no GPU: STILLBIT_CUDA_INCLUDE_DIR.
set(STILLBIT_HAS_CUDA FALSE)
find_path(STILLBIT_CUDA_INCLUDE_DIR cuda_runtime_api.h HINTS $ENV{CUDA_HOME}/include PATHS /usr/local/cuda/include)
if(NOT STILLBIT_BUILD_CUDA OR STILLBIT_SANITIZE)
  return()  # the sanitizers look at the same code on the CPU
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  # Machine code for the architectures that differ, and the last one's assembly for those that come after it.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100-real 120)
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "No CUDA compiler: building without the GPU backend")
  return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
# CMake before 3.26 does not know this of newer compilers.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
set(STILLBIT_HAS_CUDA TRUE)
