// Folio's own TensorFlow operations for the CPU: what a GPT spends its time on, each a single pass where TensorFlow's own
// operations take many. Optional: operations/ has a plain form of each, and the tests compare the two. float32 only.
// This file checks shapes and hands out memory; what is computed is a variant's (../kernels.h). Compiled for any processor of
// its architecture, as one file, for TensorFlow's headers take most of the time.
#include "products.h"
#include "training.h"
#include "writing.h"

namespace {

const char* Names(bool runnable) {
  static std::string names[2];
  std::string& list = names[runnable];
  list.clear();
  for (const Kernels* each : folio::Variants()) {
    if (!runnable || folio::CanRun(*each)) list += (list.empty() ? "" : " ") + std::string(each->name);
  }
  return list.c_str();
}

}  // namespace

// The variants in this library, and those that this processor can run, the best one last, a space between two.
extern "C" const char* folio_variants() { return Names(false); }
extern "C" const char* folio_runnable() { return Names(true); }

// From now on this variant is used; false where it cannot be.
extern "C" bool folio_choose(const char* name) {
  for (const Kernels* each : folio::Variants()) {
    if (strcmp(each->name, name) || !folio::CanRun(*each)) continue;
    chosen = each;
    return true;
  }
  return false;
}
