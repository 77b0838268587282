/** Series told apart by what users name: so many at most, then those named first give way. */
export class BoundedSeries<Series> {
  readonly #make: (name: string) => Series;
  readonly #max: number;
  readonly #series = new Map<string, Series>();

  constructor(max: number, make: (name: string) => Series) {
    this.#make = make;
    this.#max = max;
  }

  /** One look-up for a name that was asked for before. */
  of(name: string): Series {
    const known = this.#series.get(name);
    if (known !== undefined) return known;
    if (this.#series.size >= this.#max) {
      const [oldest] = this.#series.keys();
      if (oldest !== undefined) this.#series.delete(oldest);
    }
    const made = this.#make(name);
    this.#series.set(name, made);
    return made;
  }
}
