import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { defineConfig } from 'vite'

// The server has no compressor: what is worth it is compressed here, once and the same each time.
const compress = {
  name: 'compress',
  closeBundle() {
    for (const name of readdirSync('dist').filter((name) => /\.(js|css)$/.test(name))) {
      const packed = gzipSync(readFileSync(`dist/${name}`), { level: 9 })
      const most = name.endsWith('.js') ? 60_000 : 10_000
      if (packed.length > most) throw new Error(`${name} has ${packed.length} bytes, compressed; ${most} are the most`)
      writeFileSync(`dist/${name}.gz`, packed)
    }
  },
}

// Four files with fixed names, so that the server embeds them one by one; relative addresses, so
// that the page works behind any prefix.
export default defineConfig({
  base: './',
  plugins: [compress],
  build: {
    target: 'es2022',
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: {
      output: {
        entryFileNames: 'app.js',
        codeSplitting: false,
        assetFileNames: (asset) =>
          asset.names.some((name) => name.endsWith('.css')) ? 'app.css' : '[name][extname]',
      },
    },
  },
})
