// The loops that expand and add rows of 16-bit floats in one. Included inside a namespace, behind floats.inl,
// finish.inl and lanes_avx512.inl. Sums stay in registers, so that of a row as many columns are worked on as there is
// room for, for all rows of a batch; then the next ones.

using Lanes16 = Lanes<std::uint16_t>;

/// Vectors of a block, at its end, whose fields may not be loaded from where they begin: what lies behind the slot was
/// not requested. Where fields have kFewestFieldBits bits, there are no more of them.
constexpr unsigned kMostNearEnd = 2;
static_assert((kMostNearEnd + 1) * 4 * kFewestFieldBits >= kVectorBytes);

/// What differs from plan to plan: kDropsNone says that values are rotated to become words, kHasColumnBases that they
/// are not all of one base.
template <class Element_, bool kDropsNone_, bool kHasColumnBases_>
struct Kind {
  using Element = Element_;
  static constexpr bool kDropsNone = kDropsNone_;
  static constexpr bool kHasColumnBases = kHasColumnBases_;
};

/// How the values of vectors become words, and where slots have the fields of vector v, for each of kVectors vectors.
template <class Kind, unsigned kVectors>
struct Fields {
  __m512i from_bit;
  __m512i field_places;
  __m512i marker;
  __m512i base;
  __m512i magnitude;
  __m512i from_byte;
  __m512i from_byte_near_end[kMostNearEnd];
  unsigned sign_shift;
  const std::byte* column_bases;
  std::uint64_t at[kVectors];

  Fields(const RowLayout& layout, std::uint64_t last_load, std::uint64_t first_vector)
      : from_bit(_mm512_loadu_si512(layout.unpacking.from_bit)),
        field_places(Lanes16::set(layout.field_places)),
        marker(Lanes16::set(layout.marker)),
        base(_mm512_loadu_si512(layout.bases)),
        magnitude(Lanes16::set(~layout.dropped)),
        from_byte(_mm512_loadu_si512(layout.unpacking.from_byte)),
        sign_shift(15 - layout.dropped_bits),
        column_bases(layout.bases + first_vector * kVectorBytes) {
#pragma GCC unroll 8
    for (unsigned v = 0; v < kVectors; ++v) {
      const std::uint64_t begin = (first_vector + v) * layout.unpacking.plane_bytes;
      at[v] = begin < last_load ? begin : last_load;
      if (v + kMostNearEnd < kVectors) continue;
      from_byte_near_end[kVectors - 1 - v] =
          _mm512_add_epi8(from_byte, _mm512_set1_epi8(static_cast<char>(begin - at[v])));
    }
  }

  /// The placed fields of vector v.
  [[nodiscard]] __m512i fields(const std::byte* slot, unsigned v) const {
    const __m512i bytes = _mm512_loadu_si512(slot + at[v]);
    const __m512i packed =
        _mm512_permutexvar_epi8(v + kMostNearEnd < kVectors ? from_byte : from_byte_near_end[kVectors - 1 - v], bytes);
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(from_bit, packed), field_places);
  }

  [[nodiscard]] __m512i words(__m512i fields, unsigned v) const {
    const __m512i value =
        Lanes16::add(fields, Kind::kHasColumnBases ? _mm512_loadu_si512(column_bases + v * kVectorBytes) : base);
    if constexpr (Kind::kDropsNone) return Lanes16::rotate_right(value);
    constexpr int kFirstUnderSecondOrThird = 0xEA;  // (a & b) | c
    return _mm512_ternarylogic_epi64(Lanes16::shift_right(value, 1), magnitude, Lanes16::shift_left(value, sign_shift),
                                     kFirstUnderSecondOrThird);
  }
};

/// Adds the columns of kVectors vectors from `first_vector` on. `taken` has for each row the bytes of exceptions that
/// columns before these took.
template <class Kind, unsigned kVectors, bool kIsWhole>
void sum_columns(const RowLayout& layout, const SlotBatch& batch, std::uint64_t first_vector, std::uint32_t* taken) {
  using Element = typename Kind::Element;
  const std::uint64_t first = first_vector * kVectorBytes;
  const std::uint64_t slot_bytes = batch.slot_bytes;
  const std::uint64_t last_load = slot_bytes < kVectorBytes ? 0 : slot_bytes - kVectorBytes;
  const Fields<Kind, kVectors> fields(layout, last_load, first_vector);
  const std::uint64_t exceptions_at = layout.plane_bytes - last_load;
  const auto last_lanes = static_cast<Lanes16::Mask>(kIsWhole ? ~0U : (1U << (batch.row_bytes % kVectorBytes / 2)) - 1);
  const bool requests = first_vector == 0;

  using Sums = typename Element::Sums;
  using Words = typename Element::Words;
  std::uint64_t r = 0;
  for (std::uint64_t i = 0; i < batch.num_pieces; ++i) {
    const Piece piece = batch.pieces[i];
    Sums sums[kVectors][Element::kParts];
    begin_sums<Element, kVectors>(batch, piece, first, sums);
    const auto add = [&](unsigned v, __m512i words) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (unsigned p = 0; p < Element::kParts; ++p) sums[v][p] += Element::widen(reinterpret_cast<Words>(words), p);
    };
    for (const std::uint64_t end = r + piece.num_rows; r < end; ++r) {
      if (requests && r < batch.num_coming) pooling::request_slot(batch.coming[r], slot_bytes, batch.num_requests);
      const std::byte* const row = batch.rows[r];
      if ((batch.expanded >> r & 1) != 0) {
#pragma GCC unroll 8
        for (unsigned v = 0; v < kVectors; ++v) add(v, _mm512_loadu_si512(row + first + v * kVectorBytes));
        continue;
      }
      const __m512i last = _mm512_loadu_si512(row + last_load);
      std::uint64_t next_at = exceptions_at + taken[r];
#pragma GCC unroll 8
      for (unsigned v = 0; v < kVectors; ++v) {
        const __m512i field = fields.fields(row, v);
        auto found = Lanes16::equal(field, fields.marker);
        if (!kIsWhole) found &= last_lanes;
        const __m512i next = bytes_from(last, next_at);
        next_at += 2 * static_cast<unsigned>(__builtin_popcount(found));
        add(v, Lanes16::expand(fields.words(field, v), found, next));
      }
      taken[r] = static_cast<std::uint32_t>(next_at - exceptions_at);
    }
    finish_sums<Element, kVectors, kIsWhole>(batch, piece, first, sums);
  }
}

/// Calls body(std::integral_constant number of vectors, whether they are whole, first vector) for all columns.
template <class Body>
inline __attribute__((always_inline)) void for_each_columns(std::uint64_t row_bytes, const Body& body) {
  const std::uint64_t num_vectors = row_bytes / kVectorBytes;
  std::uint64_t first = 0;
  for (; first + kMostVectors <= num_vectors; first += kMostVectors)
    body(std::integral_constant<unsigned, kMostVectors>(), std::true_type(), first);
  if (first + 4 <= num_vectors) {
    body(std::integral_constant<unsigned, 4>(), std::true_type(), first);
    first += 4;
  }
  if (first + 2 <= num_vectors) {
    body(std::integral_constant<unsigned, 2>(), std::true_type(), first);
    first += 2;
  }
  if (first < num_vectors) body(std::integral_constant<unsigned, 1>(), std::true_type(), first++);
  if (row_bytes % kVectorBytes != 0) body(std::integral_constant<unsigned, 1>(), std::false_type(), first);
}

template <class Kind>
std::uint64_t sum_rows(const RowLayout& shared_layout, const SlotBatch& shared_batch) {
  const RowLayout layout = shared_layout;
  const SlotBatch batch = shared_batch;
  std::uint32_t taken[SlotBatch::kMostRows] = {};
  for_each_columns(layout.row_bytes,
                   [&](auto num_vectors, auto is_whole, std::uint64_t first) __attribute__((always_inline)) {
                     sum_columns<Kind, num_vectors(), is_whole()>(layout, batch, first, taken);
                   });
  for (std::uint64_t r = batch.num_rows; r < batch.num_coming; ++r)
    pooling::request_slot(batch.coming[r], batch.slot_bytes, batch.num_requests);
  const std::uint64_t most = batch.slot_bytes - format::kSlotTagBytes - layout.plane_bytes;
  std::uint32_t most_taken = 0;
  for (const std::uint32_t each : taken) most_taken = each > most_taken ? each : most_taken;
  std::uint64_t num_well = batch.num_rows;
  if (most_taken > most) {
    for (num_well = 0; taken[num_well] <= most;) ++num_well;
  }
  return num_well;
}
