import js from "@eslint/js";

export default [
  { ignores: ["**/built/", ".venv*/", "build/"] },
  {
    files: ["dynamo_nb/notebook/widget/*.js"],
    rules: {
      ...js.configs.recommended.rules,
      "no-undef": "off", // tsc finds undefined names, and knows those of browsers
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-duplicate-imports": "error",
      "no-var": "error",
      "prefer-const": "error",
    },
  },
];
