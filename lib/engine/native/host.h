// The threads and memory for kernels (Host in kernels.h), and the variants in this library. Compiled once, for any processor
// of its architecture.
#pragma once
#include <stdint.h>
#include <string.h>

#include <vector>

#include "arithmetic/thread_team.h"
#include "kernels.h"
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

// Set-up lists the variants that the compiler could make, the best one last: -DFOLIO_VARIANTS=V(plain)V(avx2)
#define V(name) extern "C" const folio::Kernels folio_kernels_##name;
FOLIO_VARIANTS
#undef V

namespace folio {

inline Host HostOf(int threads, int device = 0) {
  Host host;
  host.threads = threads;
  host.device = device;
  host.run = [](const Host& host, int64_t count, bool alone, void (*piece)(const void*, int64_t), const void* function) {
    Team::Of(host.device, host.threads).Run(count, alone, piece, function);
  };
  host.memory = [](int place, int64_t floats) {
    thread_local std::vector<float> held[8];
    std::vector<float>& memory = held[place];
    if (static_cast<int64_t>(memory.size()) < floats + 16) memory.resize(floats + 16);
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
  };
  host.wait = Team::Wait;
  return host;
}

// All variants in the library, the best one last.
inline const std::vector<const Kernels*>& Variants() {
#define V(name) &folio_kernels_##name,
  static const std::vector<const Kernels*> all{FOLIO_VARIANTS};
#undef V
  return all;
}

// Whether this processor has a variant's instructions and the system saves its registers.
inline bool CanRun(const Kernels& kernels) {
  const char* name = kernels.name;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!strncmp(name, "avx512", 6)) {
    const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
    return has && (strcmp(name, "avx512bf16") || __builtin_cpu_supports("avx512bf16"));
  }
#elif defined(__aarch64__) && defined(__linux__)
  if (!strcmp(name, "neonbf16")) return getauxval(AT_HWCAP2) & (1 << 14);  // HWCAP2_BF16
#elif defined(__APPLE__)
  int has = 0;
  size_t size = sizeof has;
  if (!strcmp(name, "neonbf16")) return sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, nullptr, 0) == 0 && has;
#endif
  return true;
}

}  // namespace folio
