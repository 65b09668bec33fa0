import { defineConfig } from 'vite';

export default defineConfig({
  base: '/static/',
  publicDir: false,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: 'dist',
    manifest: 'manifest.json',
    target: 'es2022',
    // MapLibre alone is larger than the default limit; basemap/sizes.mjs checks the budget that matters.
    chunkSizeWarningLimit: 1400,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { app: 'src/entries/app.tsx', pages: 'src/entries/pages.css' },
      output: {
        codeSplitting: { groups: [{ name: 'maplibre', test: /node_modules[\\/](maplibre-gl|pmtiles)/ }] },
      },
    },
  },
});
