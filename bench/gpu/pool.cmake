# Bags of rows, beside the other ways to look them up.
add_executable(stillbit_gpu_pool_bench
  ${PROJECT_SOURCE_DIR}/tests/support/make_tensor.cpp
  cases.cpp
  data.cpp
  device.cpp
  measure.cpp
  pool_kernels.cu
  pool_main.cpp
)
target_include_directories(stillbit_gpu_pool_bench PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_features(stillbit_gpu_pool_bench PRIVATE cxx_std_20)
target_compile_definitions(stillbit_gpu_pool_bench PRIVATE STILLBIT_BUILT_CUDA_LIBRARY="$<TARGET_FILE:stillbit_cuda>")
target_compile_options(stillbit_gpu_pool_bench PRIVATE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -Wshadow>)
set_target_properties(stillbit_gpu_pool_bench PROPERTIES CUDA_RUNTIME_LIBRARY Static)
target_link_libraries(stillbit_gpu_pool_bench PRIVATE stillbit nlohmann_json::nlohmann_json CUDA::cudart_static)
add_dependencies(stillbit_gpu_pool_bench stillbit_cuda)

if(STILLBIT_BUILD_TESTS)
  # That it starts, with a GPU and without one.
  add_test(NAME gpu_pool_bench_starts COMMAND stillbit_gpu_pool_bench --seconds=0)
endif()
