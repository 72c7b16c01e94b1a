import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

/** Hash of the sources: a test compares it with the sources, so that the module that is shipped is theirs. */
function sources(): string {
  const hash = createHash("sha256");
  for (const name of readdirSync("src").sort()) hash.update(readFileSync(`src/${name}`));
  return hash.digest("hex").slice(0, 16);
}

export default defineConfig({
  build: {
    lib: { entry: "src/main.ts", formats: ["es"], fileName: () => "viewer.js" },
    outDir: "../src/saccade/viewer/static",
    emptyOutDir: true,
    target: "es2022",
    minify: "esbuild",
  },
  plugins: [
    {
      name: "sources",
      generateBundle(_, bundle) {
        for (const file of Object.values(bundle)) if (file.type === "chunk") file.code = `/* sources ${sources()} */\n${file.code}`;
      },
    },
  ],
  test: { environment: "jsdom" },
});
