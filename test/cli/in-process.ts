/** `folio` in this process: its exit code and what it wrote. */
import { main } from "../../lib/cli/main.js";

export async function folio(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const texts = { out: "", err: "" };
  const io = {
    stdout: { write: (text: string) => (texts.out += text) },
    stderr: { write: (text: string) => (texts.err += text) },
  };
  return { code: await main(argv, io), ...texts };
}
