# How kernels are compiled: one source (sweep-inl.h, backward-inl.h), once for each instruction set. Only these files get
# instruction-set flags; nothing in them may be an inline function with a name that others share, or the
# linker could hand AVX-512 code to a CPU without it (docs/design/isa.md).
# -O3 also in RelWithDebInfo: the kernels are nothing but loops.
set(fovea_kernel_flags $<$<NOT:$<CONFIG:Debug>>:-O3>)
if(FOVEA_FUZZ)
  set(fovea_kernel_flags -O0)  # what is fuzzed reads files, and never comes here
endif()
# gcc 12 takes the deliberately undefined registers of its own avx512fintrin.h for a mistake (gcc bug 105593).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(fovea_intrinsics_flags -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
set_source_files_properties(kernels/sweep_scalar.cc kernels/backward_scalar.cc PROPERTIES COMPILE_OPTIONS
  "${fovea_kernel_flags};-fno-tree-vectorize;-fno-tree-slp-vectorize")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(kernels/sweep_avx2.cc kernels/backward_avx2.cc PROPERTIES COMPILE_OPTIONS
    "${fovea_kernel_flags};-mavx2;-mfma;-mf16c;-mprfchw")
  # gcc 12 warns of its own header here (its bug 105593): undefined lanes that masks never let through.
  set_source_files_properties(kernels/sweep_avx512.cc kernels/backward_avx512.cc PROPERTIES COMPILE_OPTIONS
    "${fovea_kernel_flags};$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>;$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mf16c;-mprfchw")
  set_source_files_properties(kernels/sweep_avx512_bf16.cc kernels/backward_avx512_bf16.cc PROPERTIES COMPILE_OPTIONS
    "${fovea_kernel_flags};$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>;$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mavx512vbmi2;-mfma;-mf16c;-mprfchw")
  set_source_files_properties(kernels/sweep_amx_bf16.cc kernels/backward_amx_bf16.cc PROPERTIES COMPILE_OPTIONS
    "${fovea_kernel_flags};$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>;$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mavx512vbmi2;-mamx-tile;-mamx-bf16;-mfma;-mf16c;-mprfchw")
endif()
# NEON needs no flags beyond AArch64's own. Scheduled before registers are given out, gcc 12 loads all broadcasts
# of a tile at once: 34 registers of 32, and two of the sums go through the stack.
set_source_files_properties(kernels/sweep_neon.cc kernels/backward_neon.cc PROPERTIES COMPILE_OPTIONS
  "${fovea_kernel_flags};$<$<CXX_COMPILER_ID:GNU>:-fno-schedule-insns>")

# The folder holds the sets of all processors; those of another are listed, but not compiled.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(kernels/sweep_avx2.cc kernels/sweep_avx512.cc kernels/sweep_avx512_bf16.cc
                              kernels/sweep_amx_bf16.cc kernels/backward_amx_bf16.cc
                              kernels/backward_avx2.cc kernels/backward_avx512.cc kernels/backward_avx512_bf16.cc
                              PROPERTIES HEADER_FILE_ONLY ON)
endif()
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  set_source_files_properties(kernels/sweep_neon.cc kernels/backward_neon.cc PROPERTIES HEADER_FILE_ONLY ON)
endif()
