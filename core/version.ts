/** The release of Consul whose behaviour, formats and wire this agent keeps. */
export const consulVersion = "1.8.7";

/** This program's own release, as in package.json. */
export const proconsulVersion = "0.1.0";
