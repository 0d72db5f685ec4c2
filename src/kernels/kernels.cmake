# The only place that knows how kernels are compiled: instruction sets and SIMD library.
