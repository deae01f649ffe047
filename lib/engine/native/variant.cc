// All kernels for one instruction set: compiled once per variant, with that variant's flags, its name as FOLIO_VARIANT and
// its vectors' width as FOLIO_LANES. It defines one symbol, the table.
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/dropout.h"
#include "kernels/few_tokens.h"
#include "kernels/gelu.h"
#include "kernels/layer_norm.h"
#include "kernels/linear.h"
#include "kernels/next_token.h"
#include "kernels/rows_and_norms.h"
#include "kernels/whole_model.h"

#define FOLIO_JOINED(a, b) a##b
#define FOLIO_TABLE(name) FOLIO_JOINED(folio_kernels_, name)
#define FOLIO_QUOTED(name) #name
#define FOLIO_NAME(name) FOLIO_QUOTED(name)

extern "C" const folio::Kernels FOLIO_TABLE(FOLIO_VARIANT);
const folio::Kernels FOLIO_TABLE(FOLIO_VARIANT) = {
    FOLIO_NAME(FOLIO_VARIANT),
    folio::RunMatrixProduct,
    folio::RunLinearGradient,
    folio::Attention,
    folio::AttentionGradient,
    folio::LayerNorm,
    folio::RunLayerNormGradient,
    folio::GeluAll,
    folio::DropOut,
    folio::Times,
    folio::CrossEntropy,
    folio::RunAdamW,
    folio::Squares,
    folio::Rows,
    folio::FewRows,
    folio::Widen,
    folio::CacheAttention,
    folio::RunWholeModel,
    folio::NextToken,
};
