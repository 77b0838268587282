/** Text in columns, in the two layouts Consul prints. */

/**
 * A table: columns as wide as their widest cell, two spaces between, the last one not padded; cells are trimmed.
 * Ends without a newline. As the columnize package Consul uses.
 */
export function table(rows: readonly (readonly string[])[]): string {
  const trimmed = rows.map((row) => row.map((cell) => cell.trim()));
  return layout(trimmed, 2);
}

/**
 * Lines of words and values: six spaces between. As Go's text/tabwriter under the settings Consul prints records with.
 * A column is as wide as the widest cell that another cell follows, so a lone last column pads nothing.
 */
export function record(rows: readonly (readonly string[])[]): string {
  return layout(rows, 6);
}

function layout(rows: readonly (readonly string[])[], gap: number): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      if (column < row.length - 1) widths[column] = Math.max(widths[column] ?? 0, [...cell].length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell + " ".repeat((widths[column] as number) - [...cell].length + gap),
        )
        .join(""),
    )
    .join("\n");
}
