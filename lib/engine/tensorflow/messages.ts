/** TensorFlow's messages for people. It imports nothing from Node. */

/**
 * TensorFlow's message as one sentence on one line, without node names (except the operation's), the labels of a whole
 * batch, and tfjs-node's prefix.
 */
export function oneLine(message: string): string {
  const text = message
    .replace(/^Invalid TF_Status: \d+\nMessage: /, "")
    .replace(/^\d+ root error\(s\) found\.\s+\(0\) (?:[A-Z_]+: )?/, "");
  const operation = text.match(/\{\{node (?:\S*\/)?(\w+?)(?:_\d+)?\}\}/)?.[1];
  const sentence = text
    .split("\n")[0]!
    .replace(/ for '\{\{node .*?' with input shapes: (.*?)(?: and with .*)?$/, ", for input shapes $1")
    .replace(/ for '\{\{node .*/, "")
    .replace(/\s+Label values: .*/, "")
    .replace(/[\s.]+$/, "");
  return `${sentence}${operation ? ` (in ${operation})` : ""}.`;
}
