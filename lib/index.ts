/**
 * Folio's public names. Importing it makes TensorFlow the backend that `tf` of @tensorflow/tfjs-core loads when it
 * makes its first tensor. If a run starts before that, the run's settings decide which device the backend uses.
 */
import { offerTensorFlow } from "./engine/tensorflow/load.js";
import { offerToNotebook } from "./notebook/values.js";

offerTensorFlow();
offerToNotebook();

export {
  type BenchRecord,
  type BenchResult,
  bench,
  type DeviceRatio,
  type ModeResult,
  modeName,
} from "./bench/bench.js";
export type { Figure } from "./charts/figure.js";
export { svgImage, toSvg } from "./charts/figure-svg.js";
export { figureWords } from "./charts/figure-words.js";
export { type LineChart, lineChart, type Series, toHtml } from "./charts/line-chart.js";
export { type CurveSource, lossCurve, lossCurves } from "./charts/loss-curve.js";
export {
  type Batch,
  type Dataset,
  drawBatch,
  openDataset,
  type TokenFile,
  wholeSplit,
  writeDataset,
} from "./data/batches.js";
export { checkDataset, type DatasetCheck } from "./data/check-dataset.js";
export { ngramLosses } from "./data/ngrams.js";
export { type PrepareOptions, prepareText, type TextOptions } from "./data/prepare/prepare.js";
export { countPieces, type MergeRecord, type PieceCounts, trainBytePairs } from "./data/tokenizers/learn-byte-pairs.js";
export {
  bpeTokenizer,
  charTokenizer,
  gpt2Tokenizer,
  type Tokenizer,
  tokenizerFromSpec,
} from "./data/tokenizers/tokenizer.js";
export {
  float32,
  type HostState,
  type HostTensor,
  type HostTensors,
  int32,
  type StateSpecs,
  type TensorSpec,
  type TensorSpecs,
  toHost,
  toTensor,
} from "./engine/host-tensors.js";
export {
  chromeTrace,
  type OperationTime,
  readStepTrace,
  type TracedStep,
  timeByPart,
  timeByType,
} from "./engine/profile.js";
export { openSession } from "./engine/session.js";
export type { RunStep, Session, SessionOptions, State, Step, TraceReport } from "./engine/steps.js";
export { findHardware, type Hardware, knownPeakFlops } from "./host/hardware.js";
export { readPickle } from "./host/python/pickle.js";
export { key, uniform } from "./host/random.js";
export {
  type LivePage,
  type LivePageOptions,
  livePage,
  type PageFacts,
  writeLivePage,
} from "./inspect/live/write-page.js";
export { type Looked, type LookedAt, type LookOptions, look, type Seen, type Target } from "./inspect/look.js";
export {
  activationPatching,
  type Patchable,
  type Patching,
  type PatchingOptions,
  type PatchRow,
} from "./inspect/measures/activation-patching.js";
export {
  type AttentionEntropy,
  attentionEntropy,
  type HeadScores,
  headScores,
  type RepeatOptions,
  repeatedTokens,
} from "./inspect/measures/attention-scores.js";
export { type LayerUpdate, type LayerUpdates, layerUpdates } from "./inspect/measures/layer-updates.js";
export { type Contribution, type LogitAttribution, logitAttribution } from "./inspect/measures/logit-attribution.js";
export { type LogitLens, logitLens } from "./inspect/measures/logit-lens.js";
export type { Candidate, LogitMetric, Prediction, TrueToken } from "./inspect/measures/predictions.js";
export { type ResidualNorms, residualNorms } from "./inspect/measures/residual-norms.js";
export { type TokenLosses, tokenLosses } from "./inspect/measures/token-losses.js";
export { checkGradient, type GradientCheck } from "./inspect/steps/check-gradient.js";
export type { ComputationStep } from "./inspect/steps/computation-step.js";
export { drawSteps } from "./inspect/steps/draw-steps.js";
export { type ForwardStep, forwardSteps } from "./inspect/steps/forward-steps.js";
export {
  newTrainingState,
  type TrainingState,
  type UpdatedOnce,
  type UpdateOptions,
  updateOnce,
  updateSteps,
} from "./inspect/steps/update-steps.js";
export { arrayView, valueView } from "./inspect/views/array.js";
export { attentionView } from "./inspect/views/attention.js";
export { type MatrixOptions, matrixView } from "./inspect/views/matrix.js";
export {
  attributionView,
  logitLensView,
  patchingView,
  promptsView,
  tokenLossView,
} from "./inspect/views/measured.js";
export { modelTreeView } from "./inspect/views/model-tree.js";
export { nextTokenView } from "./inspect/views/next-token.js";
export { playerView } from "./inspect/views/player.js";
export type { View } from "./inspect/views/view.js";
export { type Axis, type ValueName, type ValueSpec, valueSpecs } from "./model/activations.js";
export { type DataParallelStep, dataParallelStep, type Link, ringSeconds } from "./model/data-parallel.js";
export type { Edit, Edits, Replacement } from "./model/edits.js";
export { crossEntropy, dropout, embedding, gelu, layerNorm } from "./model/functional.js";
export type { Cache } from "./model/kv-cache.js";
export { type MemoryRow, type MemorySettings, memoryBytes, memoryTable, memoryWarning } from "./model/memory.js";
export {
  type ForwardOptions,
  forward,
  initialParameters,
  loss,
  type ParameterSpec,
  type Parameters,
  parameterSpecs,
  type Tap,
} from "./model/model.js";
export {
  chinchillaFlops,
  chinchillaParameters,
  countParameters,
  flopsPerToken,
  flopsTable,
  gpt2Shapes,
  modelFlopsUtilization,
  parameterTable,
  type Shape,
  type SizeRow,
  trainingSeconds,
} from "./model/sizing.js";
export { type Exercise, type ExerciseOptions, exercise } from "./notebook/exercise.js";
export { type TrainedRun, type TrainRunOptions, trainRun } from "./notebook/progress.js";
export { type Table, table } from "./notebook/table.js";
export { train } from "./notebook/train.js";
export { show } from "./notebook/values.js";
export type {
  CheckpointRecord,
  EndRecord,
  EvalRecord,
  IterRecord,
  OpenTracker,
  StartRecord,
  StepRecord,
  TrackedRun,
  Tracker,
} from "./runs/records.js";
export { trainingReport, writeReport } from "./runs/report.js";
export { readRunLog } from "./runs/run-folder.js";
export { drawTokens, type Filter, penalize, sampleProbabilities } from "./sample/next-token.js";
export { type Alternative, noiseWarnings, type SampledToken, type SampleOptions, sample } from "./sample/sample.js";
export { loadSampleSettings, loadSettings } from "./settings/config-files.js";
export type { ModelShape } from "./settings/model.js";
export { presets } from "./settings/presets.js";
export {
  type BenchSettings,
  defaultSampleSettings,
  defaultSettings,
  type ModelSettings,
  parseBenchSettings,
  parseSampleSettings,
  parseSettings,
  type SampleSettings,
  type Settings,
} from "./settings/settings.js";
export {
  type EvaluateOptions,
  type Evaluation,
  evaluateSplit,
  lossUnits,
  targetBytes,
  tokensOfText,
} from "./train/evaluate.js";
export type { Progress, TrainOptions } from "./train/open-run.js";
export {
  type AdamWInputs,
  adamW,
  biasCorrections,
  decayGroups,
  initialMoments,
} from "./train/optimizers/adamw.js";
export { clipScale, globalNorm } from "./train/optimizers/clipping.js";
export { learningRate } from "./train/optimizers/schedule.js";
export { newWeights } from "./train/start.js";
export {
  type ChangedPass,
  lossAndGradients,
  type TrainingSteps,
  trainingSteps,
  updateInputs,
} from "./train/steps.js";
export {
  type Checkpoint,
  type CheckpointName,
  type CheckpointState,
  hasCheckpoint,
  numberedCheckpoints,
  openCheckpoint,
  saveCheckpoint,
} from "./weights/checkpoint.js";
export { type Exported, readGpt2Folder, writeGpt2Folder } from "./weights/gpt2-folder.js";
export type { HubOptions } from "./weights/gpt2-hub.js";
export { type NanoGptCheckpoint, readNanoGptCheckpoint } from "./weights/nanogpt-checkpoint.js";
export { type OpenModel, openModel } from "./weights/open-model.js";
export { type LoadOptions, loadPretrained } from "./weights/open-weights.js";
export { cropBlockSize, type Pretrained, padVocabulary, type TrainedModel } from "./weights/pretrained.js";
