/** The script of a live page: opens the model that the page holds, starts a backend, and shows it. esbuild bundles this file. */
import "../page/paint.js"; // sets the painter
import { startBackend } from "../../engine/page/backend.js";
import { look } from "../look.js";
import { mountApp } from "./app/app.js";
import { openEmbedded, type PageDescription } from "./embedded.js";
import { openLiveModel } from "./live-model.js";

const content = (id: string) => {
  const element = document.getElementById(id);
  const text = element?.textContent ?? "";
  element?.remove(); // megabytes that nothing reads again
  return text;
};

async function start(): Promise<void> {
  const description = JSON.parse(content("description")) as PageDescription;
  const embedded = openEmbedded(description, content("weights"));
  const ids = Array.from({ length: Math.min(64, embedded.settings.blockSize) }, () => 0);
  const backend = await startBackend(async () => {
    const from = performance.now();
    await look(embedded, ids, ["logits"]);
    return performance.now() - from;
  });
  const live = openLiveModel(embedded);
  const app = document.getElementById("app");
  if (app) mountApp({ live, description, backend }, app);
}

start().catch((error: unknown) => {
  const app = document.getElementById("app");
  if (app) app.textContent = `This page cannot start: ${error instanceof Error ? error.message : String(error)}`;
});
