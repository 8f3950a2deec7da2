// Words that are looked for in many texts.

const LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"};

// Text without case, accents and the like, as it is compared.
export function foldText(text) {
  if (/^[\x20-\x7e]*$/.test(text)) return text.toLowerCase();
  const bare = text.normalize("NFKD").replace(/\p{M}+/gu, "").toLowerCase();
  return bare.replace(/[æœøßłđðþı]/g, letter => LETTERS[letter]);
}

// Those rows of an order that hold every word of the query.
export function findRows(texts, order, query) {
  const words = foldText(query).split(/\s+/).filter(Boolean);
  return words.length ? order.filter(row => words.every(word => texts[row].includes(word))) : order;
}

export function countText(found, count) {
  const grouped = number => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return found === count ? `${grouped(count)} tracks` : `${grouped(found)} of ${grouped(count)}`;
}
