// Sorting outputs into ranks with ties: the moves of the ranking page, as functions of plain data.
//
// The twin of alignloop/labeling/partition.py, name for name; a test compares the two. A place is null (not placed
// yet), 0 (not rankable) or a rank from 1, the best, to K; outputs with the same rank are tied. While an output is
// still to be placed, ranks may have gaps; once all are placed, each move closes them.

export const APART = 0;

export const nothingPlaced = (count) => new Array(count).fill(null);

export const isComplete = (places) => !places.includes(null);

const ranksIn = (places) => [...new Set(places.filter(Boolean))].sort((a, b) => a - b);

const withPlace = (places, index, place) => places.map((old, at) => (at === index ? place : old));

const settled = (places) => (isComplete(places) ? dense(places) : places);

// The same order and ties, with ranks renumbered 1..m.
export function dense(places) {
  const ranks = ranksIn(places);
  return places.map((place) => (place ? ranks.indexOf(place) + 1 : place));
}

// Put an output into a rank; ranks outside 1..K are the nearest inside.
export function put(places, index, rank) {
  return settled(withPlace(places, index, Math.min(Math.max(rank, 1), places.length)));
}

// A rank of its own: below all ranks better than `rank` (1..K + 1), above `rank` and all worse ones.
export function insert(places, index, wanted) {
  const count = places.length;
  const rank = Math.min(Math.max(wanted, 1), count + 1);
  const others = withPlace(places, index, null);
  const taken = new Set(ranksIn(others));
  if (rank <= count && !taken.has(rank)) return settled(withPlace(others, index, rank));
  if (rank > 1 && !taken.has(rank - 1)) return settled(withPlace(others, index, rank - 1));
  // No more than K - 1 ranks are taken, so one is free: the ranks from here to the free one move over.
  let free = rank;
  while (free <= count && taken.has(free)) free += 1;
  if (free <= count) {
    const moved = others.map((place) => (place && place >= rank && place < free ? place + 1 : place));
    return settled(withPlace(moved, index, rank));
  }
  free = rank - 1;
  while (taken.has(free)) free -= 1;
  const moved = others.map((place) => (place && place > free && place < rank ? place - 1 : place));
  return settled(withPlace(moved, index, rank - 1));
}

// One step better: a tied output leaves for a new rank just above; one alone changes places with the rank above.
export const up = (places, index) => step(places, index, -1);

// One step worse.
export const down = (places, index) => step(places, index, +1);

function step(places, index, direction) {
  const here = places[index];
  const count = places.length;
  if (!here) return insert(places, index, direction < 0 ? count + 1 : 1);
  if (places.filter((place) => place === here).length > 1) {
    return insert(places, index, direction < 0 ? here : here + 1);
  }
  const there = here + direction;
  if (there < 1 || there > count) return places;
  const swap = (place) => (place === here ? there : place === there ? here : place);
  return settled(places.map(swap));
}

// Tie with the next better rank; what has no rank yet joins the worst one.
export function tie(places, index) {
  const here = places[index] || places.length + 1;
  const above = ranksIn(places).filter((rank) => rank < here);
  return above.length ? settled(withPlace(places, index, above[above.length - 1])) : places;
}

// Not rankable, or that mark taken away again.
export function setApart(places, index) {
  return settled(withPlace(places, index, places[index] === APART ? null : APART));
}

export const lift = (places, index) => withPlace(places, index, null);

// Ranks in the order of scores, the highest first; equal scores are ties, no score (null) is no place.
export function fromScores(scores) {
  const order = [...new Set(scores.filter((score) => score !== null))].sort((a, b) => b - a);
  return scores.map((score) => (score === null ? null : order.indexOf(score) + 1));
}
