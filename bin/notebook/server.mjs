/**
 * Extends tslab's server for Jupyter's messages: errors as error messages, the value of a cell with its
 * representations, interrupts, output that is not lost however much comes at once, and completion with types and
 * documentation.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { flags } from "./interruption.mjs";

/**
 * @typedef {(type: string, content: object) => void} Send sends to the front end, as an answer to the running cell
 * @typedef {{ send: Send, cellId: string | undefined }} Reply to one request, from the cell with this identity
 * @typedef {import("./executor.mjs").Outcome} Outcome
 * @typedef {{
 *   execute: (code: string, number: number, reply: Reply) => Promise<Outcome>,
 *   inspect: (code: string, position: number) => object,
 *   complete: (code: string, position: number) => object,
 *   interrupt: () => Promise<void>,
 *   interruption: import("./interruption.mjs").Interruption,
 *   close: () => void
 * }} Kernel
 * @typedef {{ require: NodeJS.Require }} Tslab
 * @typedef {new (...given: unknown[]) => any} Base a class of tslab's
 */

/** Time for sending the last answers. */
const closingMs = 300;
/** Slightly longer than tslab's own 200 ms. */
const abortingMs = 220;

/**
 * Answers to requests that tslab does not know. JupyterLab asks each kernel for its history, which this one does not
 * keep.
 * @type {Record<string, { type: string, content: object }>}
 */
const ownAnswers = {
  interrupt_request: { type: "interrupt_reply", content: { status: "ok" } },
  history_request: { type: "history_reply", content: { status: "ok", history: [] } },
};

/**
 * @param {Tslab} tslab
 * @param {Kernel} kernel
 * @param {string} configPath Jupyter's connection file
 */
export function createServer(tslab, kernel, configPath) {
  /** @type {Record<"JupyterHandlerImpl" | "ZmqServer", Base>} */
  const { JupyterHandlerImpl, ZmqServer } = tslab.require("./dist/jupyter.js");
  const Handler = handlerClass(JupyterHandlerImpl, kernel);
  const Server = serverClass(ZmqServer, kernel, tslab);
  return new Server(new Handler({}, false), configPath);
}

/**
 * What the kernel answers to a request.
 * @param {Base} JupyterHandlerImpl
 * @param {Kernel} kernel
 */
function handlerClass(JupyterHandlerImpl, kernel) {
  return class extends JupyterHandlerImpl {
    /** @type {Outcome["error"]} */
    error;

    /**
     * @param {any} request
     * @param {unknown} writeStream
     * @param {Reply} writeDisplayData
     */
    async handleExecute(request, writeStream, writeDisplayData) {
      const { status, execution_count } = await super.handleExecute(request, writeStream, writeDisplayData);
      if (status === "abort") return { status: "aborted" };
      if (status === "error") {
        // During this time tslab aborts incoming cells: those sent before the front end knew of the error, but no later
        // ones.
        await new Promise((resolve) => setTimeout(resolve, abortingMs));
        return { status, execution_count, ...this.error };
      }
      return { status, execution_count, payload: [], user_expressions: {} };
    }

    /**
     * @param {any} request
     * @param {unknown} writeStream
     * @param {Reply} writeDisplayData
     */
    async handleExecuteImpl(request, writeStream, writeDisplayData) {
      const { send, cellId } = writeDisplayData;
      this.executor = {
        execute: async (/** @type {string} */ code) => {
          send("execute_input", { code, execution_count: this.execCount });
          const { ok, error } = await kernel.execute(code, this.execCount, { send, cellId });
          this.error = error;
          if (error) send("error", error);
          return ok && !error;
        },
      };
      return super.handleExecuteImpl(request, writeStream, writeDisplayData);
    }

    /** @param {{ code: string, cursor_pos: number }} request */
    handleInspect({ code, cursor_pos }) {
      return kernel.interruption.aside(() => kernel.inspect(code, inCodeUnits(code, cursor_pos)));
    }

    /** @param {{ code: string, cursor_pos: number }} request */
    handleComplete({ code, cursor_pos }) {
      return kernel.interruption.aside(() => kernel.complete(code, inCodeUnits(code, cursor_pos)));
    }

    close() {
      kernel.close();
    }
  };
}

/**
 * How requests arrive and answers leave.
 * @param {Base} ZmqServer
 * @param {Kernel} kernel
 * @param {Tslab} tslab
 */
function serverClass(ZmqServer, kernel, tslab) {
  return class extends ZmqServer {
    /** @type {Worker | undefined} */
    worker;
    /** @type {any} */
    Message;

    /** @param {any} socket @param {number} port */
    async bindSocket(socket, port) {
      if (socket === this.control) {
        this.worker = openControl(tslab, this.connInfo, { port, state: kernel.interruption.state });
        const reply = { send: (/** @type {unknown[]} */ frames) => this.worker?.postMessage({ frames }) };
        this.worker.on("message", ({ frames }) =>
          this.handleShellMessage(reply, ...frames.map((/** @type {Uint8Array} */ frame) => Buffer.from(frame))),
        );
        return;
      }
      socket.sendHighWaterMark = 0; // a publisher drops messages beyond its limit
      await super.bindSocket(socket, port);
      if (socket === this.iopub) this.iopub = patient(socket);
    }

    close() {
      super.close();
      // After the answer is sent; work left running by cells ends with the kernel.
      setTimeout(() => process.exit(0), closingMs);
    }

    /** @param {any} socket @param {Buffer[]} frames */
    async handleShellMessage(socket, ...frames) {
      const header = frames[frames.findIndex((frame) => frame.toString() === "<IDS|MSG>") + 2];
      const type = header && JSON.parse(header.toString()).msg_type;
      const own = ownAnswers[type];
      if (!own) return super.handleShellMessage(socket, ...frames);
      if (type === "interrupt_request") void kernel.interrupt();
      const message = this.Message?.fromRaw(this.connInfo.key, frames);
      if (!message) return;
      this.publishStatus("busy", message);
      this.answer(message, own.type, own.content, socket);
      this.publishStatus("idle", message);
    }

    /**
     * tslab does not export the class of its messages; it is taken from this one, the first that every front end sends.
     */
    handleKernelInfo(/** @type {any} */ socket, /** @type {any} */ message) {
      this.Message = message.constructor;
      super.handleKernelInfo(socket, message);
    }

    /** @param {any} socket @param {any} message */
    async handleExecute(socket, message) {
      /** @type {Send} */
      const send = (type, content) => this.answer(message, type, content, this.iopub);
      const writeStream = (/** @type {string} */ name, /** @type {string} */ text) => send("stream", { name, text });
      const writeDisplayData = (/** @type {object} */ data, /** @type {boolean} */ update) =>
        send(update ? "update_display_data" : "display_data", data);
      const content = await this.handler.handleExecute(
        message.content,
        writeStream,
        Object.assign(writeDisplayData, { send, cellId: message.metadata?.cellId }),
      );
      this.answer(message, "execute_reply", content, socket);
    }

    /** @param {any} message @param {string} type @param {object} content @param {any} socket */
    answer(message, type, content, socket) {
      const reply = message.createReply();
      reply.header.msg_type = type;
      reply.content = content;
      reply.signAndSend(this.connInfo.key, socket);
    }
  };
}

/**
 * The control channel, in a thread of its own, since interrupts arrive there while a cell keeps this one busy.
 * @param {Tslab} tslab
 * @param {{ transport: string, ip: string, key: string }} connection
 * @param {{ port: number, state: Int32Array }} options
 */
function openControl(tslab, { transport, ip, key }, { port, state }) {
  const from = tslab.require.resolve("./package.json");
  const workerData = { address: `${transport}://${ip}:${port}`, key, tslab: from, state };
  const worker = new Worker(path.join(path.dirname(fileURLToPath(import.meta.url)), "control.mjs"), { workerData });
  worker.on("error", (error) => process.stderr.write(`The control channel failed: ${error.message}\n`));
  process.once("exit", () => {
    worker.postMessage("close");
    Atomics.wait(state, flags.closed, 0, 1000);
  });
  worker.unref();
  return worker;
}

/**
 * A socket that queues messages which come faster than zeromq can send, since zeromq refuses them.
 * @param {any} socket
 */
function patient(socket) {
  /** @type {unknown[]} */
  const queue = [];
  /** @type {Promise<void> | undefined} */
  let sending;
  async function drain() {
    while (queue.length > 0) {
      await sending?.catch(() => {});
      sending = socket.send(queue[0]);
      await sending;
      queue.shift();
    }
  }
  return {
    /** @param {unknown} frames */
    send(frames) {
      if (queue.push(frames) > 1) return;
      try {
        sending = socket.send(frames);
        sending?.catch(() => {}); // closed meanwhile
        queue.shift();
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EBUSY") throw error;
        drain().catch(() => {});
      }
    },
    close: () => socket.close(),
  };
}

/** Converts a position: Jupyter counts code points, JavaScript counts UTF-16 code units. */
function inCodeUnits(/** @type {string} */ code, /** @type {number} */ position) {
  return Array.from(code).slice(0, position).join("").length;
}

/** @param {string} code @param {number} position */
export function inCharacters(code, position) {
  return Array.from(code.slice(0, position)).length;
}
