const PIECE_CHARACTERS = 32 * 1024;

/**
 * A text that grows by many small parts and keeps its end. V8 builds an appended string as a tree with a node for
 * each part, which would take many times the text's own size; so the parts are made into flat pieces as they fill up.
 */
export class GrowingText {
  readonly #maxCharacters: number;
  #pieces: string[] = [];
  #open = '';
  #length = 0;

  /** @param maxCharacters at least so many characters of the end are kept, in UTF-16 units, and at most twice as many */
  constructor(maxCharacters: number) {
    this.#maxCharacters = maxCharacters;
  }

  get length(): number {
    return this.#length;
  }

  append(text: string): void {
    this.#open += text;
    this.#length += text.length;
    if (this.#open.length < PIECE_CHARACTERS) return;
    // Searching a string makes V8 lay it out flat; nothing is looked for.
    this.#open.indexOf('\0');
    this.#pieces.push(this.#open);
    this.#open = '';
    if (this.#length > 2 * this.#maxCharacters) this.replace(this.toString().slice(-this.#maxCharacters));
  }

  replace(text: string): void {
    this.#pieces = [];
    this.#open = text.length > 2 * this.#maxCharacters ? text.slice(-this.#maxCharacters) : text;
    this.#length = this.#open.length;
  }

  toString(): string {
    return this.#pieces.join('') + this.#open;
  }
}
