// The loops of codec window over rows. Included once per instruction set, behind the stages (stages.inl, or what an
// instruction set has in place of them or of some), in the same namespace. An instruction set also says how rows that
// follow each other are written, to the caches and past them (RowsInCaches, RowsPastCaches).

template <class Word, bool kIsSigned>
inline void measure_rows(const RowLayout& layout, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) {
  for (std::uint64_t i = 0; i < num_rows; ++i) {
    const std::uint64_t num_exceptions = count_exceptions<Word, kIsSigned>(layout, rows + i * layout.row_bytes);
    sizes[i] = static_cast<std::uint32_t>(stored_bytes<Word>(layout, num_exceptions));
  }
}

/// Decodes rows up to the first one that is malformed. Returns how many these are.
template <class Word, bool kIsSigned, class Rows>
inline std::uint64_t decode_rows(const RowLayout& layout, const StoredRow* rows, std::uint64_t num_rows,
                                 std::byte* dst) {
  if (Rows::kPastCaches && are_requested(layout, num_rows)) request_ends(rows, num_rows);
  const bool in_order = Rows::kPastCaches && num_rows > RowCodec::kGatheredRows;
  Rows out(dst);
  std::uint64_t i = 0;
  for (; i < num_rows; ++i) {
    if (rows[i].is_raw) {
      out.copy(rows[i].data, layout.row_bytes);
      continue;
    }
    if (rows[i].num_bytes < layout.plane_bytes) break;
    if (!join_row<Word, kIsSigned>(layout, rows[i].data, rows[i].num_bytes - layout.plane_bytes, in_order, out)) break;
  }
  out.finish();
  if constexpr (Rows::kPastCaches) finish_stores();
  return i;
}

template <class Word>
void measure(const RowLayout& shared_layout, const std::byte* rows, std::uint64_t num_rows, std::uint32_t* sizes) {
  const RowLayout layout = shared_layout;
  layout.is_signed ? measure_rows<Word, true>(layout, rows, num_rows, sizes)
                   : measure_rows<Word, false>(layout, rows, num_rows, sizes);
}

template <class Word>
std::uint64_t encode(const RowLayout& shared_layout, const std::byte* row, std::byte* dst) {
  const RowLayout layout = shared_layout;
  return layout.is_signed ? encode_row<Word, true>(layout, row, dst) : encode_row<Word, false>(layout, row, dst);
}

template <class Word, class Rows>
std::uint64_t decode(const RowLayout& shared_layout, const StoredRow* rows, std::uint64_t num_rows, std::byte* dst) {
  const RowLayout layout = shared_layout;
  return layout.is_signed ? decode_rows<Word, true, Rows>(layout, rows, num_rows, dst)
                          : decode_rows<Word, false, Rows>(layout, rows, num_rows, dst);
}

template <class Word>
constexpr Kernels kKernelsFor{measure<Word>, encode<Word>, decode<Word, RowsInCaches>, decode<Word, RowsPastCaches>};
