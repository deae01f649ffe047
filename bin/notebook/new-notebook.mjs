/** `folio notebook NEW.ipynb --from=TEMPLATE`: makes a notebook from one of notebooks/templates. */
import fs from "node:fs";
import path from "node:path";

/** @param {string} root */
export function templateNames(root) {
  const files = fs.readdirSync(path.join(root, "notebooks", "templates"));
  return files.filter((file) => file.endsWith(".ipynb")).map((file) => path.basename(file, ".ipynb"));
}

/**
 * @param {string} root the folder of Folio
 * @param {string} given its path
 * @param {string} template
 * @returns {string} the file that was written
 */
export function newNotebook(root, given, template) {
  const file = given.endsWith(".ipynb") ? given : `${given}.ipynb`;
  const names = templateNames(root);
  if (!names.includes(template)) {
    throw new Error(`Cannot make ${file}: there is no template ${template}; wanted one of ${names.join(", ")}.`);
  }
  if (fs.existsSync(file)) {
    throw new Error(`Cannot make ${file}: it exists already and was left unchanged. Choose another name.`);
  }
  fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  fs.copyFileSync(path.join(root, "notebooks", "templates", `${template}.ipynb`), file, fs.constants.COPYFILE_EXCL);
  return file;
}
