/** How Consul's commands and agents put keys together: what one of them writes the others look for to the letter. */

/**
 * As Go's path.Join: without empty segments and ".", and with ".." taking out what it follows; a ".." that nothing comes
 * before stays, and a leading slash, too. "" when all parts are empty.
 */
export function joinKeyPath(...parts: readonly string[]): string {
  const given = parts.filter((part) => part !== "").join("/");
  if (given === "") return "";
  const isRooted = given.startsWith("/");
  const segments: string[] = [];
  for (const segment of given.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") segments.push(segment);
    else if (segments.length > 0 && segments.at(-1) !== "..") segments.pop();
    else if (!isRooted) segments.push(segment);
  }
  const path = segments.join("/");
  return isRooted ? `/${path}` : path || ".";
}
