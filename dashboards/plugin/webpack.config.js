// Makes dist/, which Grafana loads: one AMD module that takes Grafana's own libraries from the page, and the files beside it.
const path = require('path');
const CopyPlugin = require('copy-webpack-plugin');
const { version } = require('./package.json');

// What the page of Grafana brings along.
const shared = [/^@grafana\/(data|runtime|schema|ui)$/, 'react', 'react-dom', 'react/jsx-runtime', 'rxjs', 'lodash'];

const stamp = (content) =>
  content
    .toString()
    .replaceAll('%VERSION%', version)
    .replaceAll('%TODAY%', new Date().toISOString().slice(0, 10));

module.exports = (env) => ({
  mode: env.production ? 'production' : 'development',
  devtool: 'source-map',
  context: path.join(__dirname, 'src'),
  entry: { module: './module.ts' },
  externals: [
    ({ request }, done) =>
      shared.some((s) => (s instanceof RegExp ? s.test(request) : s === request)) ? done(null, request) : done(),
  ],
  resolve: { extensions: ['.ts', '.tsx', '.js'] },
  module: {
    rules: [
      {
        test: /\.tsx?$/,
        exclude: /node_modules/,
        use: {
          loader: 'swc-loader',
          options: { jsc: { target: 'es2022', parser: { syntax: 'typescript', tsx: true }, transform: { react: { runtime: 'automatic' } } } },
        },
      },
    ],
  },
  // The back end stays: 'make plugin' puts it there too.
  output: { path: path.join(__dirname, 'dist'), filename: '[name].js', library: { type: 'amd' }, clean: { keep: /^gpx_/ } },
  plugins: [
    new CopyPlugin({
      patterns: [
        { from: 'plugin.json', transform: stamp },
        { from: 'img', to: 'img' },
        { from: 'README.md' },
        { from: '../../../LICENSE', to: 'LICENSE', toType: 'file' },
      ],
    }),
  ],
});
