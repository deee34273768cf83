// esbuild bundles the style sheet into a separate file.
declare module "*.css";
