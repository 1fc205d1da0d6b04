# The library with the CUDA code. Programs do not link it: the core loads it when a GPU is first asked for, so that they
# run where there is no driver.
if(NOT STILLBIT_HAS_CUDA)
  return()
endif()

add_library(stillbit_cuda MODULE
  codecs/dictionary/kernels.cu
  codecs/escape/compress.cu
  codecs/escape/kernels.cu
  codecs/ibp/compress.cu
  codecs/ibp/kernels.cu
  codecs/rans/kernels.cu
  codecs/raw/compress.cu
  codecs/raw/kernels.cu
  codecs/sparse/kernels.cu
  codecs/window/compress.cu
  codecs/window/kernels.cu
  cuda/device.cpp
  cuda/device_table.cpp
  cuda/last_writers.cu
  cuda/launch.cpp
  cuda/memory.cpp
  cuda/numa.cpp
  cuda/pieces.cpp
  cuda/pipeline.cpp
  cuda/pool.cpp
  cuda/slot_writer.cpp
  cuda/status.cpp
  gpu/backend.cpp
  statistics/kernels.cu
)
target_include_directories(stillbit_cuda PRIVATE ${PROJECT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_features(stillbit_cuda PRIVATE cxx_std_20)
target_compile_options(stillbit_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xptxas=-v>
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -Wshadow>)
set_target_properties(stillbit_cuda PROPERTIES
  CUDA_RUNTIME_LIBRARY Static
  CXX_VISIBILITY_PRESET hidden
  CUDA_VISIBILITY_PRESET hidden
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
target_link_options(stillbit_cuda PRIVATE -Wl,-z,defs)
target_link_libraries(stillbit_cuda PRIVATE CUDA::cudart_static)
install(TARGETS stillbit_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
