// The loops over the elements of rows. Included once per instruction set, inside a namespace, behind floats.inl and
// what stands for it in an instruction set. A block of columns stays in registers while all rows of a piece are added:
// kBlockVectors vectors of sums, of which the including file says how many there is room for.

/// How a row is added.
enum class Scale { kNone, kFused, kSeparate };

/// Where a piece's rows begin.
struct Rows {
  const std::byte* const* data;
  const std::byte* weights;
};

/// The factor of a row, in all lanes; nothing where rows have none.
template <class Element, Scale kScale>
inline __attribute__((always_inline)) typename Element::Sums weight_of(const std::byte* weights, std::uint64_t row) {
  const typename Element::Sums zeros{};
  if constexpr (kScale == Scale::kNone) return zeros;
  if constexpr (kScale != Scale::kNone)
    return Element::widened(weights + row * sizeof(Element::kInfinity)) - zeros;  // -0 stays -0
}

/// Adds rows to the columns of kVectors vectors, from byte `first` of a row on, and writes the result where the bag
/// ends. kIsWhole says that they do not reach beyond the row.
template <class Element, Scale kScale, unsigned kVectors, bool kIsWhole>
inline __attribute__((always_inline)) void sum_block(const Batch& batch, const Piece& piece, const Rows& rows,
                                                     std::uint64_t first) {
  using Sums = typename Element::Sums;
  using Words = typename Element::Words;
  constexpr unsigned kParts = Element::kParts;
  Sums sums[kVectors][kParts];
  begin_sums<Element, kVectors>(batch, piece, first, sums);
  for (std::uint64_t r = 0; r < piece.num_rows; ++r) {
    const std::byte* const row = rows.data[r] + first;
    const Sums weight = weight_of<Element, kScale>(rows.weights, r);
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) {
      const Words words = stillbit::load<Words>(row + v * sizeof(Words));
#pragma GCC unroll 2
      for (unsigned p = 0; p < kParts; ++p) {
        const Sums elements = Element::widen(words, p);
        if constexpr (kScale == Scale::kNone) sums[v][p] += elements;
        if constexpr (kScale == Scale::kFused) sums[v][p] = multiply_add(elements, weight, sums[v][p]);
        if constexpr (kScale == Scale::kSeparate) sums[v][p] += elements * weight;
      }
    }
  }
  finish_sums<Element, kVectors, kIsWhole>(batch, piece, first, sums);
}

/// Calls block(std::integral_constant number of vectors, whether they are whole, first byte) for all columns.
template <unsigned kMostVectors, class Block>
inline __attribute__((always_inline)) void for_each_block(std::uint64_t row_bytes, const Block& block) {
  std::uint64_t first = 0;
  for (; first + kMostVectors * kVectorBytes <= row_bytes; first += kMostVectors * kVectorBytes)
    block(std::integral_constant<unsigned, kMostVectors>(), std::true_type(), first);
  if constexpr (kMostVectors > 2) {
    if (first + kMostVectors / 2 * kVectorBytes <= row_bytes) {
      block(std::integral_constant<unsigned, kMostVectors / 2>(), std::true_type(), first);
      first += kMostVectors / 2 * kVectorBytes;
    }
  }
  if constexpr (kMostVectors > 4) {
    if (first + kMostVectors / 4 * kVectorBytes <= row_bytes) {
      block(std::integral_constant<unsigned, kMostVectors / 4>(), std::true_type(), first);
      first += kMostVectors / 4 * kVectorBytes;
    }
  }
  for (; first + kVectorBytes <= row_bytes; first += kVectorBytes)
    block(std::integral_constant<unsigned, 1>(), std::true_type(), first);
  if (first < row_bytes) block(std::integral_constant<unsigned, 1>(), std::false_type(), first);
}

/// Calls body(piece, its rows) for each piece of a batch.
template <std::uint64_t kElementBytes, class Body>
inline __attribute__((always_inline)) void for_each_piece(const Batch& batch, const Body& body) {
  Rows rows{batch.rows, batch.weights};
  for (std::uint64_t i = 0; i < batch.num_pieces; ++i) {
    const Piece piece = batch.pieces[i];
    body(piece, rows);
    rows.data += piece.num_rows;
    if (rows.weights != nullptr) rows.weights += piece.num_rows * kElementBytes;
  }
}

template <class Element, Scale kScale>
void sum_scaled(const Batch& shared_batch) {
  const Batch batch = shared_batch;
  for_each_piece<sizeof(Element::kInfinity)>(
      batch, [&](const Piece& piece, const Rows& rows) __attribute__((always_inline)) {
        for_each_block<kBlockVectors / Element::kParts>(
            batch.row_bytes, [&](auto num_vectors, auto is_whole, std::uint64_t first) __attribute__((always_inline)) {
              sum_block<Element, kScale, num_vectors(), is_whole()>(batch, piece, rows, first);
            });
      });
}

template <class Element>
void sum(const Batch& batch) {
  if (batch.weights == nullptr) return sum_scaled<Element, Scale::kNone>(batch);
  if (batch.arithmetic == Arithmetic::kSeparate || !Element::kIsFused)
    return sum_scaled<Element, Scale::kSeparate>(batch);
  if constexpr (Element::kIsFused) sum_scaled<Element, Scale::kFused>(batch);
}

/// Numbers in the order of the floats that words are: both zeros are 0. A NaN is `of_nan`.
template <class Words, class Word>
inline __attribute__((always_inline)) Words ordered(Words words, Word infinity, Word of_nan) {
  const Words magnitude = words & static_cast<Word>(~(Word{1} << (8 * sizeof(Word) - 1)));
  const Words number = words < 0 ? -magnitude : magnitude;
  return magnitude > infinity ? Words{} + of_nan : number;
}

/// As sum_block: of each column the first element that no later one exceeds. What is kept are words, so that a NaN
/// keeps its bits. One that comes first stays; one that comes later is not above anything.
template <class Element, unsigned kVectors, bool kIsWhole>
inline __attribute__((always_inline)) void max_block(const Batch& batch, const Piece& piece, const Rows& rows,
                                                     std::uint64_t first) {
  using Word = typename Element::Word;
  using Words = VectorOf<Word>;
  constexpr Word kLowest = std::numeric_limits<Word>::min();
  constexpr Word kHighest = std::numeric_limits<Word>::max();
  const Word infinity = Element::kInfinity;
  std::byte* const state = batch.state + first;
  const bool takes_first = piece.begins && piece.num_rows > 0;
  const std::byte* const before = takes_first ? rows.data[0] + first : state;
  Words most[kVectors];
  Words most_ordered[kVectors];
#pragma GCC unroll 16
  for (unsigned v = 0; v < kVectors; ++v) {
    most[v] = piece.begins && !takes_first ? Words{} : stillbit::load<Words>(before + v * sizeof(Words));
    most_ordered[v] = ordered<Words, Word>(most[v], infinity, kHighest);
  }
  for (std::uint64_t r = takes_first ? 1 : 0; r < piece.num_rows; ++r) {
    const std::byte* const row = rows.data[r] + first;
#pragma GCC unroll 16
    for (unsigned v = 0; v < kVectors; ++v) {
      const Words words = stillbit::load<Words>(row + v * sizeof(Words));
      const Words number = ordered<Words, Word>(words, infinity, kLowest);
      const auto is_above = number > most_ordered[v];
      most[v] = is_above ? words : most[v];
      most_ordered[v] = is_above ? number : most_ordered[v];
    }
  }
#pragma GCC unroll 16
  for (unsigned v = 0; v < kVectors; ++v) {
    if (piece.ends) {
      store_words<kIsWhole>(piece.out, first + v * sizeof(Words), batch.row_bytes, most[v]);
    } else {
      stillbit::store(state + v * sizeof(Words), most[v]);
    }
  }
}

template <class Element>
void max(const Batch& shared_batch) {
  const Batch batch = shared_batch;
  for_each_piece<sizeof(Element::kInfinity)>(
      batch, [&](const Piece& piece, const Rows& rows) __attribute__((always_inline)) {
        for_each_block<kBlockVectors / 2>(
            batch.row_bytes, [&](auto num_vectors, auto is_whole, std::uint64_t first) __attribute__((always_inline)) {
              max_block<Element, num_vectors(), is_whole()>(batch, piece, rows, first);
            });
      });
}

template <class Element>
constexpr Kernels kKernelsFor{sum<Element>, max<Element>};
