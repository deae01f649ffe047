/**
 * Folio's public names, and nothing else. Importing it makes TensorFlow the backend that `tf` of @tensorflow/tfjs-core
 * loads when it makes its first tensor; a run that comes first decides by its settings which device that has.
 */
import { offerTensorFlow } from "./engine/tensorflow.js";

offerTensorFlow();

export { type BenchRecord, type BenchResult, bench, type ModeResult, modeName } from "./bench.js";
export { countPieces, type MergeRecord, type PieceCounts, trainBytePairs } from "./bpe-train.js";
export { type LineChart, lineChart, lossCurve, type Series, toHtml } from "./charts.js";
export { checkDataset, type DatasetCheck } from "./check-dataset.js";
export {
  type Checkpoint,
  type CheckpointName,
  type CheckpointState,
  hasCheckpoint,
  numberedCheckpoints,
  openCheckpoint,
  saveCheckpoint,
} from "./checkpoint.js";
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
} from "./config.js";
export { type Batch, type Dataset, drawBatch, openDataset, type TokenFile, wholeSplit, writeDataset } from "./data.js";
export { drawTokens, type Filter, penalize, sampleProbabilities } from "./draw.js";
export {
  chromeTrace,
  type OperationTime,
  readStepTrace,
  type TracedStep,
  timeByPart,
  timeByType,
} from "./engine/profile.js";
export {
  float32,
  type HostState,
  type HostTensor,
  type HostTensors,
  int32,
  openSession,
  type RunStep,
  type Session,
  type SessionOptions,
  type State,
  type StateSpecs,
  type Step,
  type TensorSpec,
  type TensorSpecs,
  type TraceReport,
  toHost,
  toTensor,
} from "./engine/session.js";
export {
  type EvaluateOptions,
  type Evaluation,
  evaluateSplit,
  lossUnits,
  type TrainedModel,
  targetBytes,
  tokensOfText,
} from "./evaluate.js";
export type { Figure } from "./figure.js";
export { crossEntropy, dropout, embedding, gelu, layerNorm } from "./functional.js";
export {
  cropBlockSize,
  type Exported,
  type Pretrained,
  padVocabulary,
  readGpt2Folder,
  writeGpt2Folder,
} from "./gpt2.js";
export { findHardware, type Hardware, knownPeakFlops } from "./hardware.js";
export { type Heatmap, heatmapSvg } from "./heatmap.js";
export type { HubOptions } from "./hub.js";
export { type MemoryRow, type MemorySettings, memoryBytes, memoryTable, memoryWarning } from "./memory.js";
export {
  type Cache,
  countParameters,
  type ForwardOptions,
  forward,
  initialParameters,
  loss,
  type ParameterSpec,
  type Parameters,
  parameterSpecs,
  type Tap,
} from "./model.js";
export { ngramLosses } from "./ngrams.js";
export {
  type AdamWInputs,
  adamW,
  biasCorrections,
  clipScale,
  decayGroups,
  globalNorm,
  initialMoments,
  learningRate,
} from "./optimizer.js";
export { loadSampleSettings, loadSettings } from "./overrides.js";
export { readPickle } from "./pickle.js";
export { type PrepareOptions, prepareText, type TextOptions } from "./prepare.js";
export { type LoadOptions, loadPretrained } from "./pretrained.js";
export { key, uniform } from "./random.js";
export type { CheckpointRecord, EndRecord, EvalRecord, IterRecord, StartRecord, StepRecord } from "./records.js";
export { trainingReport, writeReport } from "./report.js";
export { readRunLog } from "./runs.js";
export { type Alternative, noiseWarnings, type SampledToken, type SampleOptions, sample } from "./sample.js";
export {
  chinchillaFlops,
  chinchillaParameters,
  flopsPerToken,
  flopsTable,
  gpt2Shapes,
  modelFlopsUtilization,
  parameterCount,
  parameterTable,
  type Shape,
  type SizeRow,
  trainingSeconds,
} from "./sizing.js";
export { lossAndGradients, type TrainingSteps, trainingSteps } from "./steps.js";
export { svgImage, toSvg } from "./svg.js";
export { bpeTokenizer, charTokenizer, gpt2Tokenizer, type Tokenizer, tokenizerFromSpec } from "./tokenizer.js";
export { type ModelShape, type NanoGptCheckpoint, readNanoGptCheckpoint } from "./torch-checkpoint.js";
export type { OpenTracker, TrackedRun, Tracker } from "./trackers.js";
export { train } from "./train.js";
export type { Progress, TrainOptions } from "./training-run.js";
