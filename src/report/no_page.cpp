#include "report/page_template.hpp"

namespace stillbit::report {

const unsigned char kPageTemplate[] = {0};
const std::size_t kPageTemplateBytes = 0;

}  // namespace stillbit::report
