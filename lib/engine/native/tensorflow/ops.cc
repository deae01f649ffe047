// Folio's own TensorFlow operations for the CPU: the most expensive parts of a GPT, each in a single pass where TensorFlow's
// operations take many. They are optional: operations/ has a plain form of each, and tests compare the two. This file checks
// shapes and allocates memory; a variant's kernels (../kernels.h) compute. It is compiled for any processor of its
// architecture, and as one file, since TensorFlow's headers take most of the compile time.
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

// The variants in this library, and those that this processor can run, the best one last, separated by spaces.
extern "C" const char* folio_variants() { return Names(false); }
extern "C" const char* folio_runnable() { return Names(true); }

// Uses this variant from now on; returns false if it cannot be used.
extern "C" bool folio_choose(const char* name) {
  for (const Kernels* each : folio::Variants()) {
    if (strcmp(each->name, name) || !folio::CanRun(*each)) continue;
    chosen = each;
    return true;
  }
  return false;
}
