/** A compiled session's state in the graph: resource variables, with the operations that read and assign them. */
import type { HostTensor, TensorSpec } from "../host-tensors.js";
import { capi, type DataTypeName, DataTypeNumber, type Output, type Pointer } from "../tensorflow/c-api.js";
import { type GraphBuilder, typeAndShape } from "./graph-builder.js";
import type { RunningGraph } from "./running-graph.js";

/** A resource variable in the graph. */
export interface Variable {
  readonly handle: Output;
  readonly dtype: DataTypeName;
  readonly shape: readonly number[];
}

export type Named<T> = readonly [key: string, value: T];

/** The variables of a session by `group/name`, read and written in a few runs. */
export class Variables {
  readonly all = new Map<string, Variable>();
  private readonly readers = new Map<string, Output>();
  private readonly writers = new Map<string, { inputs: readonly Output[]; assign: Pointer }>();

  constructor(
    private readonly builder: GraphBuilder,
    private readonly graph: RunningGraph,
    /** TensorFlow's name of the device with the variables; undefined: TensorFlow places them. */
    readonly device?: string,
  ) {}

  add([key, spec]: Named<TensorSpec>): void {
    this.all.set(
      key,
      this.builder.on(this.device, () => addVariable(this.builder, spec, key)),
    );
  }

  async write(tensors: readonly Named<HostTensor>[]): Promise<void> {
    for (const batch of inBatches(tensors)) {
      const keys = batch.map(([key]) => key).join();
      const add = () => addWriter(this.builder, this.all, batch);
      const writer = this.writers.get(keys) ?? this.builder.on(this.device, add);
      this.writers.set(keys, writer);
      const feeds = batch.map(([, host], index) => ({ output: writer.inputs[index]!, host }));
      await this.graph.run({ feeds, fetches: [], targets: [writer.assign] });
    }
  }

  async read(keys: readonly string[]): Promise<HostTensor[]> {
    const host: HostTensor[] = [];
    for (const batch of inBatches(keys.map((key): Named<Variable> => [key, this.all.get(key)!]))) {
      const fetches = batch.map(([key, variable]) => {
        const reader = this.readers.get(key) ?? this.builder.on(this.device, () => addRead(this.builder, variable));
        this.readers.set(key, reader);
        return reader;
      });
      host.push(...(await this.graph.run({ feeds: [], fetches })));
    }
    return host;
  }
}

const BATCH_ELEMENTS = 2 ** 24;

/**
 * Groups of tensors to move in one run: TensorFlow takes some 20 ms to prepare each different run, but moving all
 * tensors of a large model at once would take its memory a second time.
 */
function inBatches<T extends TensorSpec>(tensors: readonly Named<T>[]): Named<T>[][] {
  const batches: Named<T>[][] = [];
  let room = -1;
  for (const named of tensors) {
    const size = named[1].shape.reduce((product, axis) => product * axis, 1);
    if (size > room) {
      batches.push([]);
      room = BATCH_ELEMENTS;
    }
    batches.at(-1)!.push(named);
    room -= size;
  }
  return batches;
}

function addVariable(builder: GraphBuilder, { dtype, shape }: TensorSpec, name: string): Variable {
  const setShape = typeAndShape(dtype, shape);
  const describe = (description: Pointer) => {
    setShape(description);
    const bytes = Buffer.from(name);
    capi().setAttrString(description, "shared_name", bytes, bytes.length);
  };
  const oper = builder.add("VarHandleOp", [], describe, [], `state/${name.replace(/[^\w./-]/g, "_")}`);
  return { handle: { oper, index: 0 }, dtype, shape };
}

export function addRead(builder: GraphBuilder, { handle, dtype }: Variable): Output {
  const oper = builder.add("ReadVariableOp", [handle], (d) => capi().setAttrType(d, "dtype", DataTypeNumber[dtype]));
  return { oper, index: 0 };
}

export function addAssign(
  builder: GraphBuilder,
  { handle, dtype }: Variable,
  value: Output,
  after: Pointer[],
): Pointer {
  const setType = (description: Pointer) => capi().setAttrType(description, "dtype", DataTypeNumber[dtype]);
  return builder.add("AssignVariableOp", [handle, value], setType, after);
}

/** Placeholders, and the operation that assigns them to their variables. */
function addWriter(
  builder: GraphBuilder,
  variables: ReadonlyMap<string, Variable>,
  batch: readonly Named<HostTensor>[],
): { inputs: readonly Output[]; assign: Pointer } {
  const inputs = batch.map(([, { dtype, shape }]) => builder.addPlaceholder(dtype, shape));
  const assigns = batch.map(([key], index) => addAssign(builder, variables.get(key)!, inputs[index]!, []));
  return { inputs, assign: builder.add("NoOp", [], undefined, assigns) };
}
