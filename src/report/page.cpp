#include "report/model.hpp"
#include "report/page_template.hpp"
#include "report/report.hpp"

#include <string_view>

namespace stillbit::report {
namespace {

constexpr std::string_view kPlace = "{{model}}";

std::string_view page_template() noexcept {
  return {reinterpret_cast<const char*>(kPageTemplate), kPageTemplateBytes};
}

}  // namespace

bool is_available() noexcept {
  return kPageTemplateBytes > 0;
}

std::string page(const FileAnalysis& analysis, const std::string& file) {
  const std::string_view text = page_template();
  const std::size_t place = text.find(kPlace);
  std::string page(text.substr(0, place));
  page += model(analysis, file);
  page += text.substr(place + kPlace.size());
  return page;
}

}  // namespace stillbit::report
