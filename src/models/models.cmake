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
# The row loops, once for each instruction set (rows-inl.h). `omp simd` lets their sums run in vector
# lanes; it brings no threads and no library. -O3 also in RelWithDebInfo.
set(fovea_row_flags $<$<NOT:$<CONFIG:Debug>>:-O3> -fopenmp-simd)
set_source_files_properties(models/rows_scalar.cc PROPERTIES COMPILE_OPTIONS "${fovea_row_flags}")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND fovea_row_flags -ffp-contract=fast)
  set_source_files_properties(models/rows_avx2.cc PROPERTIES COMPILE_OPTIONS
    "${fovea_row_flags};-mavx2;-mfma")
  set_source_files_properties(models/rows_avx512.cc PROPERTIES COMPILE_OPTIONS
    "${fovea_row_flags};-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mprefer-vector-width=512")
endif()
