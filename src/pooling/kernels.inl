// The loops over the elements of rows. Included once per instruction set, inside a namespace, behind floats.inl and
// what stands for it in an instruction set. A block of columns stays in registers while all rows of a segment are
// added.

/// Vectors of a block.
constexpr unsigned kBlockVectors = 8;

/// How a row is added.
enum class Scale { kNone, kFused, kSeparate };

/// Adds rows to a block of columns, from element `first` on, and writes the result where the bag ends. kIsWhole says
/// that the block does not reach beyond the row.
template <class Element, Scale kScale, unsigned kVectors, bool kIsWhole>
inline __attribute__((always_inline)) void sum_block(const Segment& segment, std::uint64_t first) {
  using Sums = typename Element::Sums;
  constexpr std::uint64_t kLanes = kLanesOf<Sums>;
  Sums sums[kVectors];
  std::byte* const state = segment.state + first * sizeof(sums[0][0]);
#pragma GCC unroll 8
  for (unsigned v = 0; v < kVectors; ++v)
    sums[v] = segment.begins ? Sums{} : stillbit::load<Sums>(state + v * sizeof(Sums));
  const std::uint64_t row_bytes = segment.num_elements * Element::kBytes;
  const std::byte* row = segment.rows + first * Element::kBytes;
  for (std::uint64_t r = 0; r < segment.num_rows; ++r, row += row_bytes) {
    Sums weight{};
    if constexpr (kScale != Scale::kNone) weight = Element::widened(segment.weights + r * Element::kBytes) - weight;
#pragma GCC unroll 8
    for (unsigned v = 0; v < kVectors; ++v) {
      const Sums elements = Element::widen(row + v * kLanes * Element::kBytes);
      if constexpr (kScale == Scale::kNone) sums[v] += elements;
      if constexpr (kScale == Scale::kFused) sums[v] = multiply_add(elements, weight, sums[v]);
      if constexpr (kScale == Scale::kSeparate) sums[v] += elements * weight;
    }
  }
  if (!segment.ends) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < kVectors; ++v) stillbit::store(state + v * sizeof(Sums), sums[v]);
    return;
  }
  const bool halves_up = segment.arithmetic == Arithmetic::kFused;
  std::byte* const out = segment.out + first * Element::kBytes;
#pragma GCC unroll 8
  for (unsigned v = 0; v < kVectors; ++v) {
    typename Element::Words words = Element::narrow(sums[v], halves_up);
    if (segment.divisor != 0) words = Element::narrow(Element::widen(words) / Element::rounded(segment.divisor), false);
    if constexpr (kIsWhole) {
      stillbit::store(out + v * sizeof(words), words);
    } else {
      __builtin_memcpy(out, &words, (segment.num_elements - first) * Element::kBytes);
    }
  }
}

/// Calls block(std::integral_constant number of vectors, whether they are whole, first element) for all columns.
template <std::uint64_t kLanes, class Block>
inline __attribute__((always_inline)) void for_each_block(std::uint64_t num_elements, const Block& block) {
  std::uint64_t first = 0;
  for (; first + kBlockVectors * kLanes <= num_elements; first += kBlockVectors * kLanes)
    block(std::integral_constant<unsigned, kBlockVectors>(), std::true_type(), first);
  for (; first + kLanes <= num_elements; first += kLanes)
    block(std::integral_constant<unsigned, 1>(), std::true_type(), first);
  if (first < num_elements) block(std::integral_constant<unsigned, 1>(), std::false_type(), first);
}

template <class Element, Scale kScale>
void sum_scaled(const Segment& shared_segment) {
  const Segment segment = shared_segment;
  for_each_block<kLanesOf<typename Element::Sums>>(
      segment.num_elements, [&](auto num_vectors, auto is_whole, std::uint64_t first) __attribute__((always_inline)) {
        sum_block<Element, kScale, num_vectors(), is_whole()>(segment, first);
      });
}

template <class Element>
void sum(const Segment& segment) {
  if (segment.weights == nullptr) return sum_scaled<Element, Scale::kNone>(segment);
  if (segment.arithmetic == Arithmetic::kSeparate || !Element::kIsFused)
    return sum_scaled<Element, Scale::kSeparate>(segment);
  if constexpr (Element::kIsFused) sum_scaled<Element, Scale::kFused>(segment);
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
inline __attribute__((always_inline)) void max_block(const Segment& segment, std::uint64_t first) {
  using Words = typename Element::Ordered;
  using Word = typename Element::OrderedWord;
  constexpr std::uint64_t kLanes = kLanesOf<Words>;
  constexpr Word kLowest = std::numeric_limits<Word>::min();
  constexpr Word kHighest = std::numeric_limits<Word>::max();
  const Word infinity = Element::kInfinity;
  Words most[kVectors];
  Words most_ordered[kVectors];
  std::byte* const state = segment.state + first * sizeof(Word);
  const std::uint64_t row_bytes = segment.num_elements * sizeof(Word);
  const std::byte* row = segment.rows + first * sizeof(Word);
  std::uint64_t num_rows = segment.num_rows;
#pragma GCC unroll 8
  for (unsigned v = 0; v < kVectors; ++v) {
    most[v] = !segment.begins ? stillbit::load<Words>(state + v * sizeof(Words))
              : num_rows > 0  ? stillbit::load<Words>(row + v * sizeof(Words))
                              : Words{};
    most_ordered[v] = ordered<Words, Word>(most[v], infinity, kHighest);
  }
  if (segment.begins && num_rows > 0) {
    --num_rows;
    row += row_bytes;
  }
  for (std::uint64_t r = 0; r < num_rows; ++r, row += row_bytes) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < kVectors; ++v) {
      const Words words = stillbit::load<Words>(row + v * kLanes * sizeof(Word));
      const Words number = ordered<Words, Word>(words, infinity, kLowest);
      const auto is_above = number > most_ordered[v];
      most[v] = is_above ? words : most[v];
      most_ordered[v] = is_above ? number : most_ordered[v];
    }
  }
  std::byte* const dst = segment.ends ? segment.out + first * sizeof(Word) : state;
#pragma GCC unroll 8
  for (unsigned v = 0; v < kVectors; ++v) {
    if (kIsWhole || !segment.ends) {
      stillbit::store(dst + v * sizeof(Words), most[v]);
    } else {
      __builtin_memcpy(dst, &most[v], (segment.num_elements - first) * sizeof(Word));
    }
  }
}

template <class Element>
void max(const Segment& shared_segment) {
  const Segment segment = shared_segment;
  for_each_block<kLanesOf<typename Element::Ordered>>(
      segment.num_elements, [&](auto num_vectors, auto is_whole, std::uint64_t first) __attribute__((always_inline)) {
        max_block<Element, num_vectors(), is_whole()>(segment, first);
      });
}

template <class Element>
constexpr Kernels kKernelsFor{sum<Element>, max<Element>};
