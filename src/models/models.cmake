# oneDNN: the matrix products of the models (docs/design/matmul.md). nlohmann-json: the folder's JSON.
# The engine library needs neither.
#
# Found by name: Debian's dnnl-config.cmake asks for OpenCL's headers, which a CPU has no use for.
find_path(FOVEA_DNNL_INCLUDE_DIR dnnl.hpp)
find_library(FOVEA_DNNL_LIBRARY dnnl)
if(NOT FOVEA_DNNL_INCLUDE_DIR OR NOT FOVEA_DNNL_LIBRARY)
  message(FATAL_ERROR "oneDNN is missing: install libdnnl-dev")
endif()
find_package(nlohmann_json REQUIRED)
# oneDNN's threads are OpenMP's; linear.cc tells that runtime to stay on the calling thread. Debian's
# oneDNN links GCC's runtime with every compiler, so its name is given here, not find_package(OpenMP).
set(FOVEA_MODELS_LIBRARIES ${FOVEA_DNNL_LIBRARY} gomp nlohmann_json::nlohmann_json)
include_directories(SYSTEM ${FOVEA_DNNL_INCLUDE_DIR})
# `omp simd` lets sums run in vector lanes; it brings no threads and no library.
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/models/rows.cc PROPERTIES
                            COMPILE_OPTIONS "-fopenmp-simd;-O3")
