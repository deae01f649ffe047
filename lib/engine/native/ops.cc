// Folio's own TensorFlow operations for the CPU: what a GPT spends its time on, each a single pass where TensorFlow's own
// operations take many. Optional: lib/engine/fused.ts and ops.ts have a plain form of each, and the tests compare the two.
// float32 only. One file is compiled, for TensorFlow's headers take most of the time.
#include "adamw.h"
#include "attention.h"
#include "cross_entropy.h"
#include "decode.h"
#include "draw.h"
#include "gelu.h"
#include "layer_norm.h"
#include "linear.h"
#include "sums.h"
#include "write.h"
