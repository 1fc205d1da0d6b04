// What the loops of all instruction sets ask of a layout. Included inside a namespace. See RowLayout for what "placed"
// means.

/// How values become words: those without sign are words; those with one are rotated where no bits are dropped.
enum class Join { kAsIs, kRotated, kMoved };

/// Calls `body` with how the values of this layout become words, and whether each column has a base, as constants.
template <bool kIsSigned, class Body>
inline __attribute__((always_inline)) auto with_join(const RowLayout& layout, const Body& body) {
  const auto with_bases = [&](auto join) __attribute__((always_inline)) {
    return layout.has_column_bases ? body(join, std::true_type()) : body(join, std::false_type());
  };
  if constexpr (!kIsSigned) return with_bases(std::integral_constant<Join, Join::kAsIs>());
  return layout.dropped_bits == 0 ? with_bases(std::integral_constant<Join, Join::kRotated>())
                                  : with_bases(std::integral_constant<Join, Join::kMoved>());
}

/// The size of a row with so many exceptions.
template <class Word>
inline std::uint64_t stored_bytes(const RowLayout& layout, std::uint64_t num_exceptions) {
  if (num_exceptions > 0 && layout.field_bits == 0) return layout.row_bytes;
  const std::uint64_t size = layout.plane_bytes + num_exceptions * sizeof(Word);
  return size < layout.row_bytes ? size : layout.row_bytes;
}
